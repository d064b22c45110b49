"""What may stand as an authority; the forms of targets are tested with the parser."""

import pytest

from fastmesh._core.http1_target import is_authority

HOST_BYTES = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+;=")


def test_every_byte_of_a_host() -> None:
    for code in range(256):
        byte = bytes([code])
        assert is_authority(b"a" + byte + b"b") == (code in HOST_BYTES)
        assert is_authority(byte) == (code in HOST_BYTES)
        # Behind a host, ":" opens the port, which may be empty (RFC 3986 3.2.3).
        assert is_authority(b"a" + byte) == (code in HOST_BYTES or byte == b":")


@pytest.mark.parametrize("text", [b"%41", b"a%2Fb", b"%e4%FC", b"[::]", b"[::1]:0", b"[1:2:3:4:5:6:7:8]", b"[a::B]:"])
def test_taken(text: bytes) -> None:
    assert is_authority(text)


@pytest.mark.parametrize(
    "text",
    [
        b"", b":", b":1", b"%", b"%4", b"%4g", b"a%4", b"a:123456", b"a:65536", b"a: 1", b"a:+1", b"[", b"[]",
        b"[:]", b"[::", b"[::g]", b"[::]1", b"[::]:x", b"[" + b"::" * 30 + b"]", b"a[::]", b"%41" * 86,
    ],
)  # fmt: skip
def test_refused(text: bytes) -> None:
    assert not is_authority(text)
