"""A snapshot compiled for one worker; made by `Engine.begin`."""

from collections.abc import Iterator
from typing import final

from fastmesh.snapshot import Snapshot

@final
class Tables:
    """A snapshot being compiled, a slice at a time."""

    snapshot: Snapshot

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""

    def compile(self) -> Iterator[None]:
        """The work, in small pieces; `step` goes on with it."""

    def step(self) -> bool:
        """Work for about half a millisecond; True when complete. Raises ValueError on a broken snapshot."""
