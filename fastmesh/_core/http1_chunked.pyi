"""Decoding of the chunked transfer coding (RFC 9112 7.1), for tests, benchmarks and fuzzing."""

from typing import final

@final
class Decoder:
    """The state of one chunked body."""

    def feed(self, data: bytes) -> tuple[bytes, bool, int]:
        """Body bytes, whether body and trailers have ended, and how much of `data` was consumed. Raises ParseError."""

    @property
    def trailer(self) -> bytes:
        """Trailer lines up to and with the empty line, or empty."""
