"""What gRPC writes is read again; what is read matches the grammar of the specification."""

import re
from urllib.parse import unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from fastmesh._core import grpc

UNITS = {b"n": 1, b"u": 10**3, b"m": 10**6, b"S": 10**9, b"M": 60 * 10**9, b"H": 3600 * 10**9}
TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
PATH = re.compile(rb"/(.+)/([^/]+)", re.DOTALL)
CONTENT_TYPE = re.compile(rb"application/grpc(\+.*|[ \t]*(;.*)?)", re.DOTALL | re.IGNORECASE)


@given(st.integers(0, 2**64 - 1) | st.integers(0, 64).map(lambda bits: 2**64 - 1 >> bits))
def test_a_timeout_is_the_finest_that_fits_and_never_longer(ns: int) -> None:
    text = grpc.timeout_write(ns)
    match = TIMEOUT.fullmatch(text)
    assert match is not None
    value, unit = int(match[1]), UNITS[match[2]]
    assert value > 0
    assert value * unit <= max(ns, 1) < (value + 1) * unit
    assert str(value).encode() == match[1]
    finer = [each for each in UNITS.values() if each < unit]
    assert not finer or ns // max(finer) > 99999999
    assert grpc.timeout_parse(text) == min(value * unit, 2**63 - 1)


@given(st.from_regex(rb"\A[0-9]{0,9}[HMSmunsh]?\Z") | st.binary(max_size=12))
@example(b"99999999H")
def test_timeouts_that_are_read(text: bytes) -> None:
    match = TIMEOUT.fullmatch(text)
    expected = None if match is None else min(int(match[1]) * UNITS[match[2]], 2**63 - 1)
    assert grpc.timeout_parse(text) == expected


@given(st.binary())
def test_a_message_is_printable_and_comes_back(text: bytes) -> None:
    written = grpc.message_write(text)
    assert all(32 <= byte <= 126 for byte in written)
    assert unquote_to_bytes(written) == text


@given(st.text("/aB.", max_size=12).map(str.encode) | st.binary())
def test_paths(path: bytes) -> None:
    match = PATH.fullmatch(path)
    assert grpc.split_path(path) == (None if match is None else match.groups())


@given(st.from_regex(rb"\A(?i:application/grpc)[-+; \t=,a-z]{0,5}\Z") | st.binary())
def test_content_types(value: bytes) -> None:
    assert grpc.is_content_type(value) == (CONTENT_TYPE.fullmatch(value) is not None)


@given(st.binary(max_size=4) | st.from_regex(rb"\A[0-9]{0,3}\Z"))
def test_statuses(text: bytes) -> None:
    good = re.fullmatch(rb"[0-9]|1[0-6]", text) is not None
    assert grpc.status_parse(text) == (int(text) if good else -1)
