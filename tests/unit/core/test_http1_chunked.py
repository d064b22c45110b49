"""The chunked transfer coding: what is decoded, what is refused, however the bytes come."""

from collections.abc import Iterator

import pytest

from fastmesh._core.http1_chunked import Decoder
from fastmesh._core.http1_parser import ParseError
from tests.unit.core.http1_vectors import BAD_CHUNKED, GOOD_CHUNKED

BEHIND = b"GET / HTTP/1.1\r\n"


def feed(pieces: list[bytes]) -> tuple[bytes, bool, bytes, bytes]:
    """Body, whether it ended, the trailer, and what stood behind the end."""
    decoder = Decoder()
    body = b""
    for i, piece in enumerate(pieces):
        data, done, consumed = decoder.feed(piece)
        body += data
        if done:
            return body, True, decoder.trailer, piece[consumed:] + b"".join(pieces[i + 1 :])
        assert consumed == len(piece)
    return body, False, decoder.trailer, b""


def deliveries(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    yield from ([data[:i], data[i:]] for i in range(1, len(data)))
    yield from ([data[:i], b"", data[i : i + 3], data[i + 3 :]] for i in range(1, len(data), 2))


@pytest.mark.parametrize(("data", "error"), BAD_CHUNKED)
def test_bad_bodies_are_refused_with_their_error(data: bytes, error: str) -> None:
    for pieces in deliveries(data) if len(data) < 200 else [[data], [data[:9], data[9:]]]:
        with pytest.raises(ParseError) as raised:
            feed(pieces)
        assert raised.value.name == error


@pytest.mark.parametrize(("data", "body", "trailer"), GOOD_CHUNKED)
def test_good_bodies_are_decoded_however_they_come(data: bytes, body: bytes, trailer: bytes) -> None:
    for pieces in deliveries(data):
        assert feed(pieces) == (body, True, trailer, b"")
    for pieces in deliveries(data + BEHIND):
        assert feed(pieces) == (body, True, trailer, BEHIND)


@pytest.mark.parametrize(("data", "body", "trailer"), GOOD_CHUNKED)
def test_a_body_has_not_ended_before_its_last_byte(data: bytes, body: bytes, trailer: bytes) -> None:
    for length in range(len(data)):
        decoded, done, _, _ = feed([data[:length]])
        assert not done
        assert body.startswith(decoded)


def test_every_byte_as_a_size() -> None:
    for code in range(256):
        if code in b"0123456789abcdefABCDEF":
            assert feed([bytes([code])]) == (b"", False, b"", b"")
            size = int(bytes([code]), 16)
            assert feed([b"%x\r\n" % size + b"z" * size + b"\r\n0\r\n\r\n"])[:2] == (b"z" * size, True)
        else:
            with pytest.raises(ParseError):
                feed([bytes([code])])


def test_the_largest_chunk_is_begun() -> None:
    assert feed([b"7fffffffffffffff\r\nabc"]) == (b"abc", False, b"", b"")


def test_large_chunks_pass_in_pieces() -> None:
    body = bytes(range(256)) * 300
    data = b"12c00\r\n" + body + b"\r\n0\r\n\r\n"
    assert feed([data[i : i + 1000] for i in range(0, len(data), 1000)])[:2] == (body, True)


def test_the_longest_line_and_the_longest_trailer_that_are_taken() -> None:
    assert feed([b"0" * 1022 + b"\r\n\r\n"])[1]
    with pytest.raises(ParseError, match="bad_chunk"):
        feed([b"0" * 1023 + b"\r\n\r\n"])
    value = b"a" * (8192 - len(b"X: \r\n\r\n"))
    assert feed([b"0\r\nX: " + value + b"\r\n\r\n"])[1]
    with pytest.raises(ParseError, match="bad_trailer"):
        feed([b"0\r\nX: a" + value + b"\r\n\r\n"])


def test_the_limit_of_a_line_begins_anew_with_each() -> None:
    line = b"1;" + b"x" * 1000 + b"\r\na\r\n"
    assert feed([line * 5 + b"0\r\n\r\n"])[:2] == (b"aaaaa", True)


def test_after_the_end_nothing_is_consumed() -> None:
    decoder = Decoder()
    assert decoder.feed(b"0\r\n\r\n") == (b"", True, 5)
    assert decoder.feed(b"5\r\nhello") == (b"", True, 0)


def test_after_an_error_it_stays_an_error() -> None:
    decoder = Decoder()
    for data in (b"x", b"5\r\nhello\r\n", b""):
        with pytest.raises(ParseError, match="bad_chunk"):
            decoder.feed(data)
