"""Header blocks: the examples of RFC 7541 Appendix C, errors, the bounds of the dynamic table, what we write."""

import pytest

from fastmesh._core.hpack import Decoder, HpackError, encode

Fields = list[tuple[bytes, bytes]]

FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SECOND = [*FIRST, (b"cache-control", b"no-cache")]
THIRD = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
DATE_21, DATE_22 = b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT"
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
LOCATION = (b"location", b"https://www.example.com")
PRIVATE = (b"cache-control", b"private")
FOUND = [(b":status", b"302"), PRIVATE, (b"date", DATE_21), LOCATION]
MOVED = [(b":status", b"307"), PRIVATE, (b"date", DATE_21), LOCATION]
DONE = [
    (b":status", b"200"),
    PRIVATE,
    (b"date", DATE_22),
    LOCATION,
    (b"content-encoding", b"gzip"),
    (b"set-cookie", COOKIE),
]


def block_of(text: str) -> bytes:
    return bytes.fromhex(text)


# Blocks of one connection, with the fields and the size of the table after each.
REQUESTS = [
    ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST, 57),
    ("8286 84be 5808 6e6f 2d63 6163 6865", SECOND, 110),
    ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", THIRD, 164),
]
REQUESTS_HUFFMAN = [
    ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST, 57),
    ("8286 84be 5886 a8eb 1064 9cbf", SECOND, 110),
    ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", THIRD, 164),
]
# The examples of C.5 and C.6 are of a table of 256 bytes: a size update (3fe101) comes first here.
RESPONSES = [
    (
        "3fe101"
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120"
        "474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        FOUND,
        222,
    ),
    ("4803 3330 37c1 c0bf", MOVED, 222),
    (
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f"
        "6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b"
        "2076 6572 7369 6f6e 3d31",
        DONE,
        215,
    ),
]
RESPONSES_HUFFMAN = [
    (
        "3fe101"
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718"
        "63c7 8f0b 97c8 e9ae 82ae 43d3",
        FOUND,
        222,
    ),
    ("4883 640e ffc1 c0bf", MOVED, 222),
    (
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335"
        "dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        DONE,
        215,
    ),
]


@pytest.mark.parametrize(
    ("text", "fields", "entries"),
    [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            [(b"custom-key", b"custom-header")],
            [(b"custom-key", b"custom-header")],
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", [(b":path", b"/sample/path")], []),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", [(b"password", b"secret")], []),
        ("82", [(b":method", b"GET")], []),
    ],
)
def test_representations(text: str, fields: Fields, entries: Fields) -> None:
    """C.2."""
    decoder = Decoder()
    assert decoder.decode(block_of(text)) == fields
    assert decoder.entries == entries
    assert decoder.size_bytes == sum(len(name) + len(value) + 32 for name, value in entries)


@pytest.mark.parametrize("blocks", [REQUESTS, REQUESTS_HUFFMAN, RESPONSES, RESPONSES_HUFFMAN])
def test_connections(blocks: list[tuple[str, Fields, int]]) -> None:
    """C.3 to C.6."""
    decoder = Decoder()
    for text, fields, size in blocks:
        assert decoder.decode(block_of(text)) == fields
        assert decoder.size_bytes == size
    assert decoder.size_max_bytes == (256 if blocks in (RESPONSES, RESPONSES_HUFFMAN) else 4096)


def test_the_table_after_the_responses() -> None:
    decoder = Decoder()
    for text, *_ in RESPONSES_HUFFMAN:
        decoder.decode(block_of(text))
    assert decoder.entries == [(b"set-cookie", COOKIE), (b"content-encoding", b"gzip"), (b"date", DATE_22)]


# --- errors

BAD = {
    "index 0": "80",
    "index behind the static table": "be",
    "name behind the static table": "7e 00",
    "integer that ends early": "ff",
    "integer that goes on and on": "ff 80 80 80 80 80 80 01",
    "integer beyond 32 bits": "ff ff ff ff ff 7f",
    "name that ends early": "00 05 61",
    "length behind the block": "00 7f ff ff ff ff 0f",
    "no value": "00 01 61",
    "value that ends early": "00 01 61 02 62",
    "no name": "00",
    "size update behind a field": "82 20",
    "size update above what we announce": "3f e2 1f",
    "Huffman: 8 bits of padding": "00 01 61 82 1f ff",
    "Huffman: padding of zeros": "00 01 61 81 18",
    "Huffman: nothing but padding": "00 01 61 81 ff",
    "Huffman: EOS": "00 01 61 84 ff ff ff ff",
    "Huffman: EOS behind a symbol": "00 01 61 85 1f ff ff ff ff",
    "Huffman: a code that ends early": "00 01 61 82 ff fa",
    "Huffman: in a name": "00 81 18 00",
}


@pytest.mark.parametrize("case", BAD)
def test_bad_blocks(case: str) -> None:
    with pytest.raises(HpackError) as caught:
        Decoder().decode(block_of(BAD[case]))
    assert caught.value.name == "bad"


@pytest.mark.parametrize("text", ["", "20", "20 3f e1 1f", "3f e1 1f 82", "00 00 00", "00 01 61 80", "1f 21 00"])
def test_good_blocks(text: str) -> None:
    Decoder().decode(block_of(text))


def test_every_prefix_of_a_block_is_a_block_or_bad() -> None:
    block = block_of(RESPONSES_HUFFMAN[0][0])
    whole = {0, 3, 7, 14, 38, len(block)}
    for end in range(len(block)):
        if end in whole:
            Decoder().decode(block[:end])
        else:
            with pytest.raises(HpackError):
                Decoder().decode(block[:end])


# --- the dynamic table


def added(name: bytes, value: bytes) -> bytes:
    """A literal with incremental indexing; lengths below 127."""
    return b"\x40" + bytes([len(name)]) + name + bytes([len(value)]) + value


def long_added(length: int) -> bytes:
    """One whose value has so many bytes, 127 or more; the name is "n"."""
    rest, size = length - 127, b"\x7f"
    while rest > 127:
        size += bytes([rest & 127 | 128])
        rest >>= 7
    return b"\x40\x01n" + size + bytes([rest]) + b"v" * length


def test_entries_are_evicted_oldest_first() -> None:
    decoder = Decoder()
    for i in range(1000):
        decoder.decode(added(b"%04d" % i, b"v" * (i % 50)))
        assert decoder.size_bytes == sum(len(name) + len(value) + 32 for name, value in decoder.entries) <= 4096
        count = len(decoder.entries)
        assert [int(name) for name, _ in decoder.entries] == list(range(i, i - count, -1))
        for age, entry in enumerate(decoder.entries[:60]):
            assert decoder.decode(bytes([0x80 | 62 + age])) == [entry]
    assert 60 < count < 128


def test_the_smallest_entries_fill_the_table() -> None:
    decoder = Decoder()
    decoder.decode(b"\x40\x00\x00" * 300)
    assert decoder.entries == [(b"", b"")] * 128
    assert decoder.size_bytes == 4096


@pytest.mark.parametrize(("length", "stays"), [(4096 - 33, True), (4096 - 32, False), (5000, False), (60000, False)])
def test_an_entry_larger_than_the_table_empties_it(length: int, stays: bool) -> None:
    decoder = Decoder()
    fields = decoder.decode(added(b"a", b"b") + long_added(length))
    assert fields == [(b"a", b"b"), (b"n", b"v" * length)]
    assert decoder.entries == ([(b"n", b"v" * length)] if stays else [])


def test_the_name_of_an_entry_that_is_evicted_for_it() -> None:
    decoder = Decoder()
    name = b"name" * 30
    decoder.decode(added(name, b"v" * 120))
    value = b"w" * (4096 - 32 - len(name))
    rest, size = len(value) - 127, b"\x7f"
    while rest > 127:
        size += bytes([rest & 127 | 128])
        rest >>= 7
    # Index 62 is the only entry; it must go for the new one, which has its name.
    assert decoder.decode(b"\x7e" + size + bytes([rest]) + value) == [(name, value)]
    assert decoder.entries == [(name, value)]
    assert decoder.decode(b"\xbe") == [(name, value)]


def test_size_updates() -> None:
    decoder = Decoder()
    decoder.decode(added(b"a", b"1") + added(b"b", b"2"))
    decoder.decode(b"\x3f\x03")  # 34: room for one
    assert decoder.entries == [(b"b", b"2")]
    decoder.decode(b"\x20\x3f\xe1\x1f")  # to 0, and to 4096
    assert decoder.entries == []
    assert decoder.size_max_bytes == 4096
    decoder.decode(added(b"a", b"1"))
    assert decoder.entries == [(b"a", b"1")]
    decoder.decode(b"\x20" + added(b"a", b"1"))
    assert (decoder.entries, decoder.size_bytes, decoder.size_max_bytes) == ([], 0, 0)


def test_a_field_without_room_leaves_the_table_right() -> None:
    decoder = Decoder()
    block = added(b"a", b"1") + added(b"long", b"v" * 100) + added(b"b", b"2") + b"\xbf"
    with pytest.raises(HpackError) as caught:
        decoder.decode(block, room=20)
    assert caught.value.name == "too_large"
    assert decoder.entries == [(b"b", b"2"), (b"long", b"v" * 100), (b"a", b"1")]
    # Not indexed, so it moves nothing; indexed and larger than the table, it empties it.
    with pytest.raises(HpackError):
        decoder.decode(b"\x00" + long_added(9000)[1:], room=20)
    assert len(decoder.entries) == 3
    with pytest.raises(HpackError):
        decoder.decode(long_added(9000), room=20)
    assert decoder.entries == []


@pytest.mark.parametrize("room", range(14))
def test_room_to_the_byte(room: int) -> None:
    # "name: value" CR LF has 13 bytes, plain and Huffman-coded.
    for block in (b"\x00\x04name\x05value", b"\x00\x04name" + block_of("84 ee3a2d2f")):
        if room < 13:
            with pytest.raises(HpackError):
                Decoder().decode(block, room=room)
        else:
            assert Decoder().decode(block, room=room) == [(b"name", b"value")]


# --- what we write


@pytest.mark.parametrize(
    ("field", "block"),
    [
        ((b":method", b"GET"), b"\x82"),
        ((b":path", b"/index.html"), b"\x85"),
        ((b":scheme", b"https"), b"\x87"),
        ((b":scheme", b"200"), b"\x06\x03200"),
        ((b":status", b"500"), b"\x8e"),
        ((b":status", b"501"), b"\x08\x03501"),
        ((b"Accept-Encoding", b"gzip, deflate"), b"\x90"),
        ((b"WWW-Authenticate", b"x"), b"\x0f\x2e\x01x"),
        ((b"X-Name", b"Value"), b"\x00\x06x-name\x05Value"),
        ((b"accepT", b""), b"\x0f\x04\x00"),
        ((b"q", b""), b"\x00\x01q\x00"),
        ((b"", b""), b"\x00\x00\x00"),
        ((b"x" * 127, b"y" * 255), b"\x00\x7f\x00" + b"x" * 127 + b"\x7f\x80\x01" + b"y" * 255),
    ],
)
def test_encode(field: tuple[bytes, bytes], block: bytes) -> None:
    assert encode([field]) == block
    assert Decoder().decode(block) == [(field[0].lower(), field[1])]


def test_sensitive_fields_are_never_indexed() -> None:
    assert encode([(b"cookie", b"a")], frozenset({b"cookie"})) == b"\x1f\x11\x01a"
    assert encode([(b"x-key", b"a")], frozenset({b"x-key"})) == b"\x10\x05x-key\x01a"


def test_nothing_that_we_write_depends_on_a_table() -> None:
    decoder = Decoder()
    decoder.decode(encode([(b"x-a", b"b"), (b"accept", b"*/*"), (b":path", b"/a")]))
    assert decoder.entries == []
