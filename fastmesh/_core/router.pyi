"""The compiled router: which route takes a request. For tests, benches and tools."""

from collections.abc import Sequence
from typing import final

from fastmesh.snapshot import Route

@final
class RequestHead:
    """A request's head as the router sees it, made from text instead of bytes of HTTP."""

    def __init__(
        self,
        method: str,
        authority: str,
        path: str,
        query: str = "",
        headers: Sequence[tuple[str, str]] = (),
        client: tuple[str | None, str | None, str | None] | None = None,
    ) -> None:
        """`authority`: Host, maybe with a port. `query`: without "?". Headers: Latin-1, as RFC 9110 5.5 has them.

        `client`: the URI, the DNS name and the subject of its verified identity.
        """

@final
class Router:
    """The routes of a snapshot, compiled: a tree of hosts and path segments for each listener."""

    def __init__(self, listener_count: int) -> None:
        """Raises OverflowError for a negative count, MemoryError."""

    def add(self, routes: Sequence[Route], first_index: int) -> None:
        """Compile a slice of Snapshot.routes that begins at `first_index`; a hundred take well below a millisecond.

        Raises ValueError for a listener that is not there, a prefix without a slash, an invalid regular expression,
        and when finished; MemoryError.
        """

    def finish_step(self) -> bool:
        """Close the router to further routes. True: nothing is left to do, as every slice leaves the trees in order."""

    def match(
        self,
        listener_index: int,
        method: str,
        authority: str,
        path: str,
        query: str = "",
        headers: Sequence[tuple[str, str]] = (),
        client: tuple[str | None, str | None, str | None] | None = None,
    ) -> int:
        """The index of the route that takes the request, or -1. Raises ValueError when there is no such listener."""

    def match_heads(self, listener_index: int, heads: list[RequestHead]) -> int:
        """Match each head; the sum of the indexes. For benches: it costs nothing but the matching."""

    @staticmethod
    def live_nodes() -> int:
        """Nodes of all routers of this process, to be 0 when the last is gone."""

def normalise_host(authority: str) -> str:
    """The host that routes are looked up by: lower case, no port, no trailing dot, brackets kept (RFC 3986 3.2.2).

    Empty when there is none or it exceeds 255 bytes.
    """
