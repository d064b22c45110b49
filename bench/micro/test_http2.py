"""Heads of HTTP/2: reading and writing of three sizes.

A round is ROUND heads without Python in between, so a result in microseconds is the nanoseconds of one head.
"""

from typing import Any

import pytest

from bench.micro.http1_requests import REQUESTS
from fastmesh._core import http1_parser, http2_head, http2_writer
from fastmesh._core.hpack import Decoder

ROUND = 1000


def indexed(block: bytes) -> tuple[bytes, bytes]:
    """The block with each literal added to the table, and the one that refers to it."""
    fields = [field for field in Decoder().decode(block) if field[0][:1] != b":"]
    pseudo = http2_writer.write_request(http1_parser.parse_request(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
    # All of them are shorter than 127 bytes.
    literals = b"".join(b"\x40%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields)
    return pseudo + literals, pseudo + bytes(0x80 | 62 + i for i in range(len(fields)))


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_read_literals(benchmark: Any, name: str) -> None:
    block = http2_writer.write_request(http1_parser.parse_request(REQUESTS[name]))
    assert benchmark(http2_head.rehearse_request, block, ROUND).method == b"GET"


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_read_indexed(benchmark: Any, name: str) -> None:
    """What a client sends from its second request on."""
    first, later = indexed(http2_writer.write_request(http1_parser.parse_request(REQUESTS[name])))
    decoder = Decoder()
    http2_head.read_request(first, True, decoder)
    assert benchmark(http2_head.rehearse_request, later, ROUND, decoder).method == b"GET"


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_write(benchmark: Any, name: str) -> None:
    assert benchmark(http2_writer.rehearse_request, http1_parser.parse_request(REQUESTS[name]), ROUND) > 0
