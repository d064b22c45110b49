"""The fields of an HTTP/2 header block (RFC 9113 8.2, 8.3): block in, lines and pseudo-header fields out. Sans-IO.

Used by http2_head alone, which decides what follows from them.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from fastmesh._core.headers cimport head_t
from fastmesh._core.hpack_table cimport hpack_decoder_t
from fastmesh._core.http2_head cimport http2_head_limits_t

cdef enum:                          # pseudo-header fields; numbers of bits in sets of them
    HTTP2_PSEUDO_METHOD = 0
    HTTP2_PSEUDO_SCHEME
    HTTP2_PSEUDO_AUTHORITY
    HTTP2_PSEUDO_PATH
    HTTP2_PSEUDO_PROTOCOL
    HTTP2_PSEUDO_STATUS
    HTTP2_PSEUDO_COUNT

cdef enum http2_seen_flag_t:
    HTTP2_SEEN_FIELD = 1            # any but pseudo-header fields
    HTTP2_SEEN_HOST = 2
    HTTP2_SEEN_LENGTH = 4           # head.content_length is valid
    HTTP2_SEEN_EXPECT_CONTINUE = 8

cdef struct http2_value_t:          # in head_t.text
    uint32_t offset
    uint32_t length

cdef struct http2_seen_t:           # what the fields of a block said
    http2_value_t[HTTP2_PSEUDO_COUNT] pseudo
    uint8_t pseudos                 # bits: those that came
    uint8_t allowed                 # bits: those that may come; set by the caller
    uint8_t flags
    uint16_t host                   # place in head.headers, and 1, of the line of :authority or Host; 0: none yet
    uint16_t cookie                 # the same of the cookie field
    const char* detail              # static text: what is wrong

# Read a block into head.headers and `seen`, which the caller has zeroed but for `allowed`. The lines stand behind
# head.text_len; :authority becomes a Host line, :protocol an Upgrade line. To the end of the block in any case, so that
# the table is right, unless it is HPACK_BAD or HPACK_NO_MEMORY. 0, HPACK_* or HTTP2_HEAD_*.
cdef int http2_read_fields(
    hpack_decoder_t* decoder, const char* block, size_t length, const http2_head_limits_t* limits,
    head_t* head, http2_seen_t* seen,
) noexcept nogil
