"""The field lines of an HTTP/1 head (RFC 9112 5), and what they say of framing and connection. Sans-IO.

Used by http1_parser, which knows start lines and decides what follows from the fields.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.headers cimport head_t, header_t

cdef enum http1_seen_flag_t:
    HTTP1_SEEN_HOST = 1
    HTTP1_SEEN_LENGTH = 2
    HTTP1_SEEN_CODING = 4
    HTTP1_SEEN_CLOSE = 8              # Connection: close
    HTTP1_SEEN_KEEP_ALIVE = 16
    HTTP1_SEEN_UPGRADE_OPTION = 32
    HTTP1_SEEN_UPGRADE = 64
    HTTP1_SEEN_CLEARTEXT_HTTP2 = 128
    HTTP1_SEEN_EXPECT_CONTINUE = 256

cdef struct http1_seen_t:             # what the fields of a head said
    uint16_t flags
    uint16_t connection_options
    header_t host

# A bare CR, a bare LF or a NUL. To be asked about a head that made no sense: they go before all other errors.
cdef bint http1_has_bad_line_end(const char* data, size_t length) noexcept nogil
# Sets head.content_length. HTTP1_OK or HTTP1_BAD_CONTENT_LENGTH.
cdef int http1_read_content_length(head_t* head, const char* at, const char* end) noexcept nogil
# The lines from `at` to the empty line, behind which is `end`, into head.headers. Returns HTTP1_OK or an http1_error_t.
cdef int http1_parse_fields(
    head_t* head, const char* at, const char* end, uint16_t max_count, http1_seen_t* seen
) noexcept nogil
