"""Heads to HTTP/2 header blocks (RFC 9113 8.2, 8.3), without frame headers. Sans-IO.

The caller gives room for what the *_bound functions say. Fields that belong to a connection are left out (RFC 9113
8.2.2); `te: trailers` is kept where the head has it, dropped or not. HEAD_UPGRADE becomes an extended CONNECT, 101
becomes 200 (RFC 8441).
"""

from libc.stdint cimport uint8_t, uint16_t
from fastmesh._core.headers cimport head_t

cdef size_t http2_request_bound(const head_t* head) noexcept nogil
# `scheme` is "http" or "https".
cdef size_t http2_write_request(const head_t* head, const char* scheme, char* out) noexcept nogil
cdef size_t http2_response_bound(const head_t* head) noexcept nogil
cdef size_t http2_write_response(const head_t* head, char* out) noexcept nogil
cdef size_t http2_trailers_bound(const head_t* head) noexcept nogil
cdef size_t http2_write_trailers(const head_t* head, char* out) noexcept nogil
