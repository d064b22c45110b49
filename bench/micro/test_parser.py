"""Reading of HTTP/1: heads of three sizes, and chunked bodies.

A round is ROUND heads without Python in between, so a result in microseconds is the nanoseconds of one head.
"""

from typing import Any

import pytest

from bench.micro.http1_requests import REQUESTS
from fastmesh._core import http1_parser
from fastmesh._core.http1_chunked import Decoder

ROUND = 1000


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_parse_request(benchmark: Any, name: str) -> None:
    """Find the end of the head, and parse it."""
    head = benchmark(http1_parser.rehearse_request, REQUESTS[name], ROUND)
    assert head.method == b"GET"


@pytest.mark.parametrize("size", [16, 1024, 65536])
def test_decode_chunks(benchmark: Any, size: int) -> None:
    """256 KiB of body in chunks of this size, one decoder, Python's own copies included."""
    data = (b"%x\r\n" % size + b"x" * size + b"\r\n") * (262144 // size) + b"0\r\n\r\n"
    body, done, _ = benchmark(lambda: Decoder().feed(data))
    assert done
    assert len(body) == 262144
