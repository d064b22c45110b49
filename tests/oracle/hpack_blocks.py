"""The blocks of one connection, decoded by us and by the hpack library."""

import re

import hpack

from fastmesh._core.hpack import Decoder, HpackError

Fields = list[tuple[bytes, bytes]]


def theirs(blocks: list[bytes]) -> Fields | None:
    decoder = hpack.Decoder(max_header_list_size=1 << 24)
    try:
        return [(bytes(name), bytes(value)) for block in blocks for name, value in decoder.decode(block, raw=True)]
    except hpack.HPACKError:
        return None


def ours(blocks: list[bytes]) -> Fields | None:
    decoder = Decoder()
    try:
        return [field for block in blocks for field in decoder.decode(block)]
    except HpackError:
        return None


def has_long_integer(blocks: list[bytes]) -> bool:
    """Where we are stricter on purpose: more than five bytes behind the prefix of an integer, or beyond 32 bits."""
    return any(re.search(rb"[\x80-\xff]{4}", block) for block in blocks)


def check_blocks(blocks: list[bytes]) -> Fields | None:
    """Both read the same, or both refuse. The fields, or None."""
    read, expected = ours(blocks), theirs(blocks)
    assert read == expected or (read is None and has_long_integer(blocks)), (blocks, read, expected)
    return read
