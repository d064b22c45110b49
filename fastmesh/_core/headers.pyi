"""The head of a request or a response as the codecs and filters see it, for tests, benchmarks and fuzzing.

The request path uses the C functions of headers.pxd; nothing here is called for a request.
"""

from typing import Self, final

NAMES: tuple[str, ...]
"""The field names that are known by number, in lower case, by header_id_t; [0] is empty: any other name."""

FRAMINGS: tuple[str, ...]
"""How the end of a body is found, by framing_t (RFC 9112 6.3)."""

FLAGS: dict[int, str]
"""Names of head_flag_t, by bit."""

def identify(name: bytes) -> str:
    """The known name that `name`, in any case, stands for, or "" (RFC 9110 5.1)."""

@final
class Head:
    """A head that owns its text and its table of fields, both of a fixed size."""

    def __new__(cls, text_room: int = 4096, field_room: int = 64) -> Self:
        """An empty head with room for `text_room` bytes and `field_room` fields. Raises MemoryError."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes:
        """Path and query as they are sent on; empty for OPTIONS of a whole server in absolute-form (sent as "*")."""

    @property
    def authority(self) -> bytes:
        """From an absolute-form target, else from Host; may hold a port."""

    @property
    def path(self) -> bytes: ...
    @property
    def query(self) -> bytes:
        """Without the question mark; empty when there is none."""

    @property
    def reason(self) -> bytes: ...
    @property
    def status(self) -> int:
        """0 for a request."""

    @property
    def version_minor(self) -> int: ...
    @property
    def framing(self) -> str:
        """One of FRAMINGS."""

    @property
    def content_length(self) -> int:
        """In bytes; valid when the framing is "length"."""

    @property
    def flags(self) -> set[str]:
        """Values of FLAGS."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Name and value of each field that is not dropped, in order."""

    def find(self, name: bytes) -> bytes | None:
        """The value of the first field of this name, in any case, that is not dropped."""

    def append(self, name: bytes, value: bytes) -> bool:
        """False when there is no room; the head is then unchanged."""

    def drop(self, name: bytes) -> None:
        """Drop every field of a known name (see NAMES)."""

    def cookie(self, name: bytes) -> bytes | None:
        """The value of the first cookie of this name (RFC 6265 4.2)."""

    def copy(self, text_room: int, field_room: int) -> Head:
        """A copy with this much room behind what there is."""
