"""A snapshot compiled for one worker; made by `Engine.begin`."""

from collections.abc import Iterator
from typing import Protocol, final, type_check_only

from fastmesh.snapshot import Snapshot

@type_check_only
class TlsCredentials(Protocol):
    """The credentials of a snapshot: addresses of SSL_CTX, good for as long as this object lives.

    Made by fastmesh.identity.credentials. Listeners and services are given by their index.
    """

    def listener(self, index: int) -> tuple[int, tuple[tuple[str, int], ...]]:
        """The context of the default certificate, and by name those of all."""

    def service(self, index: int) -> tuple[int, int]:
        """A context, and a number (not 0) that stands for these very settings in this process."""

    def identify(self, der: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
        """Of a verified certificate: first URI, first DNS name, subject, and the value of X-Forwarded-Client-Cert.

        None: it is not to be accepted.
        """

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
