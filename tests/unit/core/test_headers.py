"""Known names, and the table of fields of a head."""

import pytest

from fastmesh._core import headers
from fastmesh._core.headers import Head


@pytest.mark.parametrize("name", headers.NAMES[1:])
def test_known_names_are_known_in_any_case(name: str) -> None:
    for variant in (name, name.upper(), name.title(), name.swapcase()):
        assert headers.identify(variant.encode()) == name


@pytest.mark.parametrize("name", headers.NAMES[1:])
def test_names_that_differ_in_one_byte_are_not_known(name: str) -> None:
    text = name.encode()
    for i in range(len(text)):
        for byte in (b"\x00", b"_", b"\xff", bytes([text[i] ^ 1]), bytes([text[i] ^ 0x40]), bytes([text[i] ^ 0x80])):
            assert headers.identify(text[:i] + byte + text[i + 1 :]) != name
    for other in (text[:-1], text[1:], text + b"x", b"x" + text):
        assert headers.identify(other) != name


@pytest.mark.parametrize("name", [b"", b"x", b"accept-language", b"x" * 19, b"x" * 20, b"x" * 300])
def test_other_names(name: bytes) -> None:
    assert headers.identify(name) == ""


def head_of(*fields: tuple[bytes, bytes], text_room: int = 4096) -> Head:
    head = Head(text_room, 16)
    for name, value in fields:
        assert head.append(name, value)
    return head


def test_find_and_drop() -> None:
    head = head_of((b"Host", b"a"), (b"X-Other", b"b"), (b"x-other", b"c"), (b"VIA", b"d"), (b"via", b"e"))
    assert head.find(b"host") == b"a"
    assert head.find(b"X-OTHER") == b"b"
    assert head.find(b"x-othe") is None
    head.drop(b"Via")
    assert head.find(b"via") is None
    assert head.fields == [(b"Host", b"a"), (b"X-Other", b"b"), (b"x-other", b"c")]


def test_append_needs_room_in_the_text() -> None:
    line = len(b"name: value\r\n")
    head = Head(2 * line, 16)
    assert head.append(b"name", b"value") and head.append(b"name", b"value")
    assert not head.append(b"", b"")
    assert head.fields == [(b"name", b"value")] * 2
    assert not Head(line - 1, 16).append(b"name", b"value")
    assert not Head(0, 16).append(b"name", b"value")


def test_append_needs_room_in_the_table() -> None:
    head = Head(4096, 1)
    assert head.append(b"a", b"b")
    assert not head.append(b"c", b"d")
    assert head.fields == [(b"a", b"b")]
    assert not Head(4096, 0).append(b"a", b"b")


def test_a_copy_stands_alone() -> None:
    head = head_of((b"a", b"b"), text_room=6)
    copy = head.copy(6, 1)
    assert copy.append(b"c", b"d")
    assert copy.fields == [(b"a", b"b"), (b"c", b"d")]
    assert head.fields == [(b"a", b"b")]
    assert not head.copy(5, 1).append(b"c", b"d")
    assert not head.copy(6, 0).append(b"c", b"d")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"id=1", b"1"),
        (b"a=b; id=1; c=d", b"1"),
        (b"a=b;id=1;c=d", b"1"),
        (b"a=b;  id=1 ; c=d", b"1"),
        (b"id=1; id=2", b"1"),
        (b"id=a=b", b"a=b"),
        (b"id=", b""),
        (b"id", None),
        (b"xid=1", None),
        (b"idx=1", None),
        (b"ID=1", None),
        (b"a=id=1", None),
        (b"", None),
        (b";;;", None),
    ],
)
def test_cookies(value: bytes, found: bytes | None) -> None:
    assert head_of((b"Cookie", value)).cookie(b"id") == found
    assert head_of((b"Cookie", b"other=1"), (b"cookie", value)).cookie(b"id") == found
    assert head_of((b"Set-Cookie", value)).cookie(b"id") is None


def test_a_dropped_cookie_is_gone() -> None:
    head = head_of((b"Cookie", b"id=1"))
    head.drop(b"cookie")
    assert head.cookie(b"id") is None
