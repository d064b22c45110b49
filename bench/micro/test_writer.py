"""Forwarding and writing of HTTP/1 heads.

A round is ROUND heads without Python in between, so a result in microseconds is the nanoseconds of one head.
"""

from typing import Any

import pytest

from bench.micro.http1_requests import REQUESTS
from fastmesh._core import forwarding, http1_parser, http1_writer

ROUND = 1000


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_forward_request(benchmark: Any, name: str) -> None:
    """Copy the head; take hop-by-hop fields out, put X-Forwarded-* and X-Request-Id in."""
    head = http1_parser.parse_request(REQUESTS[name])
    forwarded = benchmark(forwarding.rehearse_request, head, ROUND)
    assert forwarded.find(b"x-forwarded-for") == b"192.0.2.1"


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_write_request(benchmark: Any, name: str) -> None:
    """Write the head that is sent on."""
    head = forwarding.request(http1_parser.parse_request(REQUESTS[name]))
    length = benchmark(http1_writer.rehearse_request, head, ROUND)
    assert length == len(http1_writer.write_request(head))
