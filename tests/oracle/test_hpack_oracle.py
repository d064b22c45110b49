"""Header blocks against the hpack library: what one writes the other reads, and bad bytes are bad to both."""

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.hpack import Decoder, encode
from tests.oracle.hpack_blocks import Fields, check_blocks

KNOWN = [name for name, _ in hpack.table.HeaderTable.STATIC_TABLE]
NAMES = st.one_of(st.sampled_from(KNOWN), st.sampled_from([b"x-a", b"x-b", b"x-c"]), st.binary(min_size=1, max_size=40))
VALUES = st.one_of(
    st.sampled_from([b"", b"GET", b"/", b"https", b"200", b"gzip, deflate", b"a", b"b"]),
    st.binary(max_size=200),
    st.integers(100, 6000).map(lambda length: b"v" * length),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
SIZES = st.one_of(st.none(), st.sampled_from([0, 33, 100, 500, 4095, 4096]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(FIELDS, st.booleans(), SIZES), max_size=8))
def test_what_they_write_we_read(blocks: list[tuple[Fields, bool, int | None]]) -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields
        assert decoder.entries == list(encoder.header_table.dynamic_entries)
        assert decoder.size_max_bytes == encoder.header_table_size


@settings(max_examples=300, deadline=None)
@given(FIELDS, st.booleans())
def test_what_we_write_they_read(fields: Fields, sensitive: bool) -> None:
    names = frozenset(name for name, _ in fields) if sensitive else frozenset()
    read = hpack.Decoder(max_header_list_size=1 << 20).decode(encode(fields, names), raw=True)
    assert [(name, value) for name, value in read] == [(name.lower(), value) for name, value in fields]
    if sensitive:
        # A whole field of the static table is no secret; nothing else may be indexed.
        known = set(hpack.table.HeaderTable.STATIC_TABLE)
        for field in read:
            assert tuple(field) in known or not field.indexable


def _pieces() -> st.SearchStrategy[bytes]:
    """Pieces of blocks: most of them good alone, and together often bad."""
    string = st.one_of(
        st.binary(max_size=20).map(lambda text: bytes([len(text)]) + text),
        st.binary(max_size=20).map(lambda text: bytes([0x80 | len(text)]) + text),
        st.binary(max_size=20).map(lambda text: (lambda coded: bytes([0x80 | len(coded)]) + coded)(_huffman(text))),
    )
    named = st.tuples(st.sampled_from([b"\x41", b"\x05", b"\x14", b"\x7e", b"\x7f\x00"]), string)
    literal = st.tuples(st.sampled_from([b"\x40", b"\x00", b"\x10"]), string, string)
    return st.one_of(
        st.binary(max_size=4),
        st.integers(0x80, 0xFF).map(lambda byte: bytes([byte])),
        st.integers(0x20, 0x3E).map(lambda byte: bytes([byte])),
        st.one_of(named, literal).map(b"".join),
    )


def _huffman(text: bytes) -> bytes:
    block = hpack.Encoder().encode([(b"x", text)], huffman=True)
    return block[-(block[3] & 0x7F) :] if text and block[3] != 0xFF else b""


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), st.lists(_pieces(), max_size=6).map(b"".join)), max_size=4))
def test_bad_bytes_are_bad_to_both(blocks: list[bytes]) -> None:
    check_blocks(blocks)


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_of_the_huffman_code(symbol: int) -> None:
    for text in (bytes([symbol]), bytes([symbol]) * 9, b"a" + bytes([symbol]) + b"/~"):
        block = hpack.Encoder().encode([(b"x", text)], huffman=True)
        assert Decoder().decode(block) == [(b"x", text)]
