"""Bytes that have no place in a head, against a plain reading of them."""

import random
import re

import pytest

from fastmesh._core.http1_fields import has_bad_line_end
from fastmesh._core.http1_parser import ParseError, parse_request, parse_response, parse_trailers

REQUEST = b"GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nX: \t\xe9\xff ~ a value longer than a vector\r\nY:\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 Quite all right\r\nX-Name-Of-More-Than-16: value\tvalue \xff\r\nShort: 1\r\n\r\n"
BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\x00")
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def test_bad_line_end_at_every_place() -> None:
    assert not has_bad_line_end(REQUEST)
    for i in range(1, len(REQUEST)):
        assert has_bad_line_end(REQUEST[:i] + b"\x00" + REQUEST[i:])
        assert has_bad_line_end(REQUEST[:i] + b"\r" + REQUEST[i:])
        assert has_bad_line_end(REQUEST[:i] + b"\n" + REQUEST[i:])


@pytest.mark.parametrize("parse, head", [(parse_request, REQUEST), (parse_response, RESPONSE)])
def test_every_byte_at_every_place(parse, head: bytes) -> None:
    """A byte that is inserted or replaced is seen wherever it stands, and a bad line end goes before other errors."""
    parse(head)
    for i in range(len(head) - 4):
        for byte in b"\x00\x01\x08\x0b\x0c\x1f\x7f\r\n":
            for flawed in (head[:i] + bytes([byte]) + head[i:], head[:i] + bytes([byte]) + head[i + 1 :]):
                if not BARE.search(flawed) and not CONTROL.search(flawed):
                    continue
                with pytest.raises(ParseError) as caught:
                    parse(flawed)
                assert (caught.value.name == "bad_line_end") == bool(BARE.search(flawed)), flawed


def test_random_bytes() -> None:
    chance = random.Random(9112)
    for _ in range(3000):
        value = bytes(chance.choice(b"abc \t\r\n\r\n\x00\x01\x1f\x7f\x80\xff") for _ in range(chance.randrange(1, 80)))
        value = re.sub(rb"\r(?!\n)", b"\r\n", value)
        line = b"X: " + value + b"\r\n\r\n"
        assert has_bad_line_end(line) == bool(BARE.search(line))
        if BARE.search(line) or CONTROL.search(line):
            with pytest.raises(ParseError, match="bad_trailer"):
                parse_trailers(line)
        elif b"\n" not in value:
            assert [(b"X", value.strip(b" \t"))] == parse_trailers(line).fields
