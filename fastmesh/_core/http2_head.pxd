"""Heads as HTTP/2 carries them (RFC 9113 8.2, 8.3): header blocks into head_t.

Sans-IO. A head_t that comes from here looks as if HTTP/1.1 had brought it: method, authority, path, query and target
point into its text, `framing` is NONE, LENGTH or CHUNKED, :authority is a Host field, and an extended CONNECT (RFC
8441) is a GET with HEAD_UPGRADE and an "upgrade" field. So nothing behind the codec knows the difference.
"""

from libc.stdint cimport uint16_t
from fastmesh._core.headers cimport head_t
from fastmesh._core.hpack cimport hpack_decoder_t
from fastmesh._core.http2_writer cimport (
    http2_request_bound,
    http2_response_bound,
    http2_trailers_bound,
    http2_write_request,
    http2_write_response,
    http2_write_trailers,
)

cdef enum:                              # results below 0 (HPACK_BAD and HPACK_NO_MEMORY too)
    HTTP2_HEAD_MALFORMED = -10          # a stream error of type PROTOCOL_ERROR (RFC 9113 8.1.1)
    HTTP2_HEAD_TOO_LARGE = -11          # more bytes or fields than allowed; the table is right all the same
    HTTP2_HEAD_TARGET_TOO_LONG = -12    # :path is longer than a request line may be

cdef struct http2_head_limits_t:
    size_t target_max_bytes
    size_t head_max_bytes               # names and values and 32 each
    uint16_t header_max_count

# Read a request, a response or trailers, to the end of the block whatever is wrong with it. head.text with text_cap and
# head.headers with capacity are the caller's; fields are written behind head.text_len, each as a line of HTTP/1, which
# takes at most head_max_bytes. `is_end`: END_STREAM came with it. `detail` becomes a static text: what is malformed.
cdef int http2_read_request(
    hpack_decoder_t* decoder, const char* block, size_t length, bint is_end,
    const http2_head_limits_t* limits, head_t* head, const char** detail,
) noexcept nogil
cdef int http2_read_response(
    hpack_decoder_t* decoder, const char* block, size_t length, bint is_end,
    const http2_head_limits_t* limits, head_t* head, const char** detail,
) noexcept nogil
cdef int http2_read_trailers(
    hpack_decoder_t* decoder, const char* block, size_t length,
    const http2_head_limits_t* limits, head_t* head, const char** detail,
) noexcept nogil
