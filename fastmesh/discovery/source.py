"""One source of one service: what it offers, and what of that is in force."""

from __future__ import annotations

import logging
import time

from fastmesh.config import Discover, Endpoint
from fastmesh.config.compile import names_of

ERRORS_SHOWN = 10
NAMES_WAIT_MAX_S = 6.0  # longer than one look-up takes

log = logging.getLogger(__name__)


class Source:
    """The last good endpoints of a source stay in force until it offers others.

    Others are put into force when the names in their addresses have been looked up, so that a service is never without
    addresses in between.
    """

    def __init__(self, service: str, written: Discover) -> None:
        self.service = service
        self.written = written
        self.endpoints: tuple[Endpoint, ...] = ()  # in force
        self.offered: tuple[Endpoint, ...] | None = None  # waits for its names
        self.errors: tuple[str, ...] = ()  # why what is in force is not what the source says now, at most ERRORS_SHOWN
        self.error_count = 0
        self.names: frozenset[str] = frozenset()  # in what is in force and what is offered
        self._offered_s = 0.0  # on the monotonic clock
        self._stale_since_s = time.time()  # 0: it is not

    @property
    def kind(self) -> str:
        return self.written.kind

    @property
    def place(self) -> str:
        """As it is written."""
        return self.written.place

    def age_s(self, unix_s: float) -> float:
        """For how long the source has not said anything good; 0: what it says now is in force."""
        return max(unix_s - self._stale_since_s, 0.0) if self._stale_since_s else 0.0

    def offer(self, endpoints: tuple[Endpoint, ...], errors: tuple[str, ...], good_s: float = 0.0) -> None:
        """What a look at the source gave. `good_s`: Unix time of its last good answer, when it is not now."""
        believed = bool(endpoints) or (self.written.allow_empty and not errors)
        if not endpoints and not believed:
            errors = errors or ("there is no endpoint in it",)
        self._note(errors, good_s)
        if not believed or endpoints == self.endpoints:
            self.offered = None
        elif endpoints != self.offered:
            self.offered, self._offered_s = endpoints, time.monotonic()
        self.names = names_of((*self.endpoints, *(self.offered or ())))

    def settle(self, asked: frozenset[str], resolved: frozenset[str]) -> bool:
        """Put what is offered into force if its time has come: whether it was. `asked`: names that were looked up."""
        offered = self.offered
        if offered is None:
            return False
        names = names_of(offered)
        if self.endpoints and offered and not names <= asked and self.wait_s() > 0:
            return False
        has_address = any(not names_of([endpoint]) for endpoint in offered) or bool(names & resolved)
        if self.endpoints and offered and not has_address:
            return False  # its names may yet come to resolve
        log.info("service %s: %s %s: now %d endpoint(s)", self.service, self.kind, self.place, len(offered))
        self.endpoints, self.offered, self.names = offered, None, names
        return True

    def wait_s(self) -> float:
        """How long the names of what is offered are waited for yet."""
        return self._offered_s + NAMES_WAIT_MAX_S - time.monotonic()

    def _note(self, errors: tuple[str, ...], good_s: float) -> None:
        was_stale = bool(self.errors)
        if not errors:
            if was_stale:
                log.info("service %s: %s %s: good again", self.service, self.kind, self.place)
            self._stale_since_s = 0.0
        elif not self._stale_since_s:
            self._stale_since_s = good_s or time.time()
        kept = f"; keeping the last {len(self.endpoints)} endpoint(s)" if self.endpoints else ""
        for error in [error for error in errors if error not in self.errors][:ERRORS_SHOWN]:
            log.warning("service %s: %s %s: %s%s", self.service, self.kind, self.place, error, kept)
        self.errors, self.error_count = errors[:ERRORS_SHOWN], len(errors)
