"""HTTP/1 heads: bytes in, a head_t out (RFC 9112). Strict, sans-IO: no clock, no socket, no allocation.

Two steps. `http1_find_head_end` is incremental and cheap: it finds the empty line, and sees bare LF, bare CR and NUL at
once, however slowly the bytes come. The parse proper then runs once, over a whole head.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.headers cimport head_t

cdef enum http1_error_t:
    HTTP1_OK = 0
    HTTP1_BAD_LINE_END = -1         # bare LF, bare CR, NUL
    HTTP1_BAD_START_LINE = -2
    HTTP1_BAD_METHOD = -3
    HTTP1_BAD_TARGET = -4
    HTTP1_BAD_VERSION = -5          # not HTTP/d.d at all
    HTTP1_VERSION_NOT_SUPPORTED = -6  # well formed, not 1.0 or 1.1
    HTTP1_BAD_HEADER_NAME = -7      # includes a space before the colon, and obs-fold
    HTTP1_BAD_HEADER_VALUE = -8
    HTTP1_BAD_HOST = -9             # none in 1.1, two, or not a host
    HTTP1_BAD_CONTENT_LENGTH = -10
    HTTP1_BAD_TRANSFER_ENCODING = -11
    HTTP1_BAD_FRAMING = -12         # Content-Length with Transfer-Encoding, body where there cannot be one
    HTTP1_BAD_STATUS = -13
    HTTP1_BAD_CHUNK = -14
    HTTP1_BAD_TRAILER = -15
    HTTP1_START_LINE_TOO_LONG = -16
    HTTP1_HEAD_TOO_LARGE = -17
    HTTP1_TOO_MANY_HEADERS = -18

cdef enum:
    HTTP1_METHOD_MAX_BYTES = 32
    HTTP1_CONNECTION_OPTIONS_MAX = 32   # elements of Connection in one head: each costs a walk over the fields

cdef struct http1_limits_t:
    uint32_t start_line_max_bytes
    uint32_t head_max_bytes
    uint16_t header_max_count

# Where the head ends (behind its empty line), 0: not yet, or an error. `scanned` is kept by the caller between calls on
# a growing buffer and starts at 0. The limits are checked on what there is, so a head that never ends is cut off.
# At most two empty lines before the start line are skipped by http1_skip_empty_lines (RFC 9112 2.2).
cdef ssize_t http1_find_head_end(
    const char* data, size_t length, size_t* scanned, const http1_limits_t* limits
) noexcept nogil
cdef size_t http1_skip_empty_lines(const char* data, size_t length) noexcept nogil

# Parse a whole head, its empty line included. head.headers and head.capacity are set by the caller; head.text is set
# to `data` (borrowed). Returns HTTP1_OK or an http1_error_t.
cdef int http1_parse_request(const char* data, size_t length, const http1_limits_t* limits, head_t* head) noexcept nogil
# `method_id` is that of the request: it decides the framing of the response (RFC 9112 6.3).
cdef int http1_parse_response(
    const char* data, size_t length, const http1_limits_t* limits, uint8_t method_id, head_t* head
) noexcept nogil
cdef uint8_t http1_identify_method(const char* name, size_t length) noexcept nogil
# Trailer lines up to and with the empty line; only fields, no start line. Forbidden ones (framing, routing,
# RFC 9110 6.5.1) come out dropped.
cdef int http1_parse_trailers(
    const char* data, size_t length, const http1_limits_t* limits, head_t* head
) noexcept nogil
cdef void http1_drop_forbidden_trailers(head_t* head) noexcept nogil
cdef const char* http1_error_name(int error) noexcept nogil
