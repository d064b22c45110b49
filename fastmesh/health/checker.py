"""Keeps one check going for each endpoint, and tells the workers what it finds."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from fastmesh.health.failure import CheckFailed
from fastmesh.health.model import Check, CheckedService, EndpointHealth, HealthFlags
from fastmesh.health.probe import probe
from fastmesh.snapshot import Endpoint

CONCURRENT_CHECKS_MAX = 128
JITTER = 0.1  # share of the interval

log = logging.getLogger(__name__)


class _Watch(NamedTuple):
    """A running check; it is restarted when any of its parts but the task and the health differs."""

    check: Check
    host: str
    port: int
    health: EndpointHealth
    task: asyncio.Task[None]


class HealthChecker:
    """Active checks of all endpoints of all services that ask for them. Belongs to one event loop."""

    def __init__(
        self,
        flags: HealthFlags,
        *,
        probe: Callable[[Endpoint, Check], Awaitable[None]] = probe,
        on_change: Callable[[str, Endpoint, EndpointHealth], None] | None = None,
    ) -> None:
        """`flags`: the shared memory; `on_change`: called after an endpoint became healthy or unhealthy."""
        self._flags = flags
        self._probe = probe
        self._on_change = on_change
        self._watches: dict[int, _Watch] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_CHECKS_MAX)

    def update(self, services: Iterable[CheckedService]) -> None:
        """Check exactly these from now on; call it in the running loop, at each reload and discovery change.

        What stays the same goes on undisturbed. An endpoint whose check was changed keeps its state and is checked
        anew at once. One that has left is healthy again for the workers: they must not remember it by an old result.
        """
        # Id 0 is shared by all that shared memory has no room for: no flag of their own, so nothing to find out.
        wanted = {each.id: (service, each) for service in services for each in service.endpoints if each.id}
        gone = [endpoint_id for endpoint_id in self._watches if endpoint_id not in wanted]
        for endpoint_id in gone:
            self._forget(endpoint_id)
        for endpoint_id, (service, endpoint) in wanted.items():
            self._watch(endpoint_id, service, endpoint)
        if gone:
            self._flags.bump_health()

    def health(self, endpoint_id: int) -> EndpointHealth | None:
        """What is known of an endpoint; None if it is not checked."""
        watch = self._watches.get(endpoint_id)
        return watch.health if watch else None

    async def close(self) -> None:
        """Stop all checks; the flags stay as they are."""
        tasks = [watch.task for watch in self._watches.values()]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, endpoint_id: int) -> None:
        self._watches.pop(endpoint_id).task.cancel()
        self._flags.set_health(endpoint_id, True)

    def _watch(self, endpoint_id: int, service: CheckedService, endpoint: Endpoint) -> None:
        health = EndpointHealth(service.name)
        if old := self._watches.get(endpoint_id):
            if (old.host, old.port) != (endpoint.host, endpoint.port):
                self._forget(endpoint_id)
                self._flags.bump_health()
            elif old.check == service.check:
                return
            else:
                old.task.cancel()
                health = old.health
        task = asyncio.get_running_loop().create_task(self._run(endpoint, service.check, health))
        self._watches[endpoint_id] = _Watch(service.check, endpoint.host, endpoint.port, health, task)

    async def _run(self, endpoint: Endpoint, check: Check, health: EndpointHealth) -> None:
        while True:
            async with self._slots:
                error = await self._ask(endpoint, check)
            self._record(endpoint, check, health, error)
            await asyncio.sleep(check.interval_ms / 1000 * random.uniform(1 - JITTER, 1 + JITTER))

    async def _ask(self, endpoint: Endpoint, check: Check) -> str:
        """Empty if the endpoint is well, else why not."""
        try:
            await self._probe(endpoint, check)
        except CheckFailed as failure:
            return str(failure)
        except Exception as bug:  # a check that ends would leave its last result standing for ever
            log.exception("health check of %s:%d failed in an unforeseen way", endpoint.host, endpoint.port)
            return f"{type(bug).__name__}: {bug}"
        return ""

    def _record(self, endpoint: Endpoint, check: Check, health: EndpointHealth, error: str) -> None:
        now = time.time()
        passed = not error
        health.consecutive = health.consecutive + 1 if health.checks and passed == health.last_passed else 1
        health.last_passed = passed
        health.checks += 1
        if error:
            health.failures += 1
            health.last_error = error
            health.last_error_at = now
        if health.checks == 1:
            health.since = now
            if not passed:
                self._turn(endpoint, health, False)
        elif passed != health.healthy and health.consecutive >= (check.rise_count if passed else check.fall_count):
            self._turn(endpoint, health, passed)

    def _turn(self, endpoint: Endpoint, health: EndpointHealth, healthy: bool) -> None:
        health.healthy = healthy
        health.since = time.time()
        self._flags.set_health(endpoint.id, healthy)
        self._flags.bump_health()
        if healthy:
            log.info("service %s: endpoint %s:%d is healthy again", health.service, endpoint.host, endpoint.port)
        else:
            why = health.last_error
            log.warning(
                "service %s: endpoint %s:%d is unhealthy: %s", health.service, endpoint.host, endpoint.port, why
            )
        if self._on_change:
            self._on_change(health.service, endpoint, health)
