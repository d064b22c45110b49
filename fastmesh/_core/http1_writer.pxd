"""HTTP/1 heads and chunk framing: a head_t in, bytes out. The caller gives room for what the *_bound functions say."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.headers cimport head_t

cdef enum:
    HTTP1_CHUNK_HEAD_MAX_BYTES = 18     # 16 hex digits, CR, LF

cdef size_t http1_head_bound(const head_t* head) noexcept nogil
# "METHOD target HTTP/1.1", then Host from the authority, then every field that is not dropped, then an empty line.
# Runs of fields that stand together in the text are copied at once.
cdef size_t http1_write_request(const head_t* head, char* out) noexcept nogil
# "HTTP/1.1 status reason" ...
cdef size_t http1_write_response(const head_t* head, char* out) noexcept nogil
cdef size_t http1_write_chunk_head(uint64_t size, char* out) noexcept nogil
# The last chunk with its trailers; `trailers` may be NULL.
cdef size_t http1_last_chunk_bound(const head_t* trailers) noexcept nogil
cdef size_t http1_write_last_chunk(const head_t* trailers, char* out) noexcept nogil
