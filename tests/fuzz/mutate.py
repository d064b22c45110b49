"""Changes to a message: bytes, pieces, lines, numbers, and words that parsers stumble over."""

import random

INPUT_MAX_BYTES = 4096

WORDS = [
    b"\r\n", b"\r", b"\n", b"\x00", b"\t", b" ", b"  ", b":", b": ", b",", b";", b"\r\n\r\n", b"\r\n ", b"\r\n\t",
    b"\x0b", b"\x7f", b"\x80", b"\xff", b"#", b"?", b"//", b"http://", b"https://a:1", b"*", b"@", b"[::1]", b"%00",
    b"%", b"..", b"\\", b"GET ", b"POST ", b"HEAD ", b"OPTIONS * ", b"CONNECT a:1 ", b" HTTP/1.1", b" HTTP/1.0",
    b" HTTP/2.0", b"HTTP/1.1 204 \r\n", b"Host: a\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Content-Length: 5, 5\r\n", b"Content-Length : 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer_Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: host, content-length, x-forwarded-for\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    b"Expect: 100-continue\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b"X-Request-Id: a b\r\n", b"Trailer: X\r\n",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"0x5\r\n", b"-1\r\n", b"5;a=b\r\n", b"ffffffffffffffff\r\n",
    b"7fffffffffffffff\r\n", b"18446744073709551616", b"9223372036854775808",
]  # fmt: skip


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _flip(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _remove(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 1, 2, 4, 16)) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    piece = data[at : at + chance.choice((1, 2, 8, 32))]
    return data[:at] + piece * chance.choice((1, 2, 40)) + data[at:]


def _word(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice(WORDS) + data[at + chance.choice((0, 0, 1, 4)) :]


def _line(data: bytes, chance: random.Random) -> bytes:
    """A whole field put between two lines, where it counts."""
    ends = [i + 2 for i in range(len(data) - 1) if data[i : i + 2] == b"\r\n"]
    at = chance.choice(ends) if ends else 0
    return data[:at] + chance.choice([word for word in WORDS if word.endswith(b"\r\n")]) + data[at:]


def _drop_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    del lines[chance.randrange(len(lines))]
    return b"\r\n".join(lines)


def _case(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at : at + 12].swapcase() + data[at + 12 :]


_CHANGES = (_flip, _flip, _remove, _repeat, _word, _word, _line, _line, _drop_line, _case)


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to four changes, or a cross with another message first."""
    if chance.random() < 0.1:
        data = data[: _place(data, chance)] + other[_place(other, chance) :]
    for _ in range(chance.choice((1, 1, 2, 3, 4))):
        data = chance.choice(_CHANGES)(data, chance)
    return data[:INPUT_MAX_BYTES]
