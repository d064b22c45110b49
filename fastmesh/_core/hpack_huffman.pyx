"""Huffman decoding by tables: up to two symbols by one look at the next 11 bits, rare long codes by their length.

The code is canonical: within one length, codes count up in the order of their symbols, and those of the next length go
on from there. So the lengths of Appendix B are the whole code, and the tables come from them when the module is loaded.
"""

from libc.stdint cimport UINT64_MAX, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastmesh._core.hashing cimport load_u64

cdef extern from *:
    uint64_t swap_bytes "__builtin_bswap64" (uint64_t value) noexcept nogil

cdef enum:
    SYMBOLS = 257               # the last one is EOS
    EOS = 256
    CODE_MAX_BITS = 30
    PAIR_BITS = 11
    PAIR_SHIFT = 64 - PAIR_BITS
    PAIRS = 1 << PAIR_BITS

cdef struct pair_t:             # the symbols that begin in some PAIR_BITS bits
    uint8_t first
    uint8_t second
    uint8_t first_bits          # 0: the code of the first symbol is longer than PAIR_BITS
    uint8_t bits                # of both symbols; first_bits when the second one is not whole

cdef pair_t PAIR[PAIRS]
# By length in bits: what follows the last code of this length or less, left-aligned; the first code, right-aligned; the
# place of its symbol in SYMBOL.
cdef uint64_t CODE_END[CODE_MAX_BITS + 1]
cdef uint32_t FIRST_CODE[CODE_MAX_BITS + 1]
cdef uint16_t FIRST_PLACE[CODE_MAX_BITS + 1]
cdef uint16_t SYMBOL[SYMBOLS]

# Bits of the code of each symbol.
CODE_BITS = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
)  # fmt: skip


cdef int make_lengths() except -1:
    cdef uint32_t code = 0
    cdef uint16_t place = 0
    cdef int bits
    for bits in range(1, CODE_MAX_BITS + 1):
        code <<= 1
        FIRST_CODE[bits] = code
        FIRST_PLACE[bits] = place
        for symbol, symbol_bits in enumerate(CODE_BITS):
            if symbol_bits == bits:
                SYMBOL[place] = symbol
                place += 1
                code += 1
        CODE_END[bits] = <uint64_t>code << (64 - bits)
    # All codes are given out: the last is 30 ones, and 2**64, which is no uint64_t, follows it.
    assert place == SYMBOLS and code == 1 << CODE_MAX_BITS
    CODE_END[CODE_MAX_BITS] = UINT64_MAX
    return 0


# The length of the code that stands in the top bits; where there are 30 ones or more, that of EOS.
cdef inline uint32_t code_length(uint64_t coded, uint32_t bits) noexcept nogil:
    while bits < CODE_MAX_BITS and coded >= CODE_END[bits]:
        bits += 1
    return bits


cdef inline uint16_t code_symbol(uint64_t coded, uint32_t bits) noexcept nogil:
    return SYMBOL[FIRST_PLACE[bits] + <uint32_t>(coded >> (64 - bits)) - FIRST_CODE[bits]]


cdef void make_pairs() noexcept nogil:
    cdef pair_t* pair
    cdef uint64_t coded
    cdef uint32_t number, first_bits, bits
    memset(PAIR, 0, sizeof(PAIR))
    for number in range(PAIRS):
        pair = &PAIR[number]
        coded = <uint64_t>number << PAIR_SHIFT
        first_bits = code_length(coded, 1)
        if first_bits > PAIR_BITS:
            continue
        pair.first = <uint8_t>code_symbol(coded, first_bits)
        pair.first_bits = pair.bits = <uint8_t>first_bits
        bits = code_length(coded << first_bits, 1)
        if first_bits + bits <= PAIR_BITS:
            pair.second = <uint8_t>code_symbol(coded << first_bits, bits)
            pair.bits = <uint8_t>(first_bits + bits)


make_lengths()
make_pairs()


cdef ssize_t hpack_huffman_decode(const uint8_t* coded, size_t length, char* out, size_t room) noexcept nogil:
    cdef const uint8_t* end = coded + length
    cdef const char* start = out
    cdef const char* out_end = out + room
    cdef const pair_t* pair
    cdef uint64_t held = 0              # bits to decode, left-aligned
    cdef uint32_t count = 0             # of them; below may stand bits that come again
    cdef uint32_t bits
    cdef uint16_t symbol
    while True:
        if end - coded >= 8:
            held |= swap_bytes(load_u64(<const char*>coded)) >> count
            coded += (63 - count) >> 3
            count |= 56
        else:
            while count <= 56 and coded < end:
                held |= <uint64_t>coded[0] << (56 - count)
                coded += 1
                count += 8
        while count >= PAIR_BITS and out_end - out >= 2:
            pair = &PAIR[held >> PAIR_SHIFT]
            if pair.first_bits == 0:
                break
            out[0] = <char>pair.first
            out[1] = <char>pair.second
            out += 1 + (pair.bits != pair.first_bits)
            held <<= pair.bits
            count -= pair.bits
        if count < CODE_MAX_BITS and coded < end:
            continue
        bits = PAIR[held >> PAIR_SHIFT].first_bits
        if bits == 0:
            bits = code_length(held, PAIR_BITS + 1)
        if bits > count:
            # RFC 7541 5.2: what is left is padding, the first bits of EOS.
            if count > 7 or (count and ~held >> (64 - count)):
                return HUFFMAN_BAD
            return out - start
        symbol = code_symbol(held, bits)
        if symbol == EOS:
            return HUFFMAN_BAD
        if out == out_end:
            return HUFFMAN_NO_ROOM
        out[0] = <char>symbol
        out += 1
        held <<= bits
        count -= bits
