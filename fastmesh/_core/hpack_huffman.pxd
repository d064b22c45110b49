"""The Huffman code of header strings (RFC 7541 5.2, Appendix B), decoding only: what we write is not Huffman-coded,
which costs some bytes on a fast network and saves a mesh the coding and its peer the decoding. Sans-IO.
"""

from libc.stdint cimport uint8_t

cdef enum:
    HUFFMAN_BAD = -1            # EOS within the string, or padding that is not at most 7 bits of EOS
    HUFFMAN_NO_ROOM = -2

# The length of what `coded` stands for, written to `out`, or HUFFMAN_*.
cdef ssize_t hpack_huffman_decode(const uint8_t* coded, size_t length, char* out, size_t room) noexcept nogil
