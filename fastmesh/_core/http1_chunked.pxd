"""The chunked transfer coding (RFC 9112 7.1), decoded in place."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    CHUNKED_TRAILER_MAX_BYTES = 8192
    CHUNKED_LINE_MAX_BYTES = 1024       # chunk size and extensions

cdef enum chunked_result_t:
    CHUNKED_MORE = 0        # all of the input was consumed
    CHUNKED_DONE = 1        # the body and its trailers ended at `consumed`

cdef struct chunked_t:
    uint64_t remaining      # bytes left in this chunk
    uint32_t line_bytes     # of the current line, for the limit
    uint8_t state
    uint32_t trailer_len
    char* trailer           # owned; NULL until there is a trailer: lines up to and with the empty line

cdef void chunked_init(chunked_t* decoder) noexcept nogil
cdef void chunked_release(chunked_t* decoder) noexcept nogil
# Decode `length` bytes at `data`, closing the gaps: the body bytes then stand at data[data_off : data_off + data_len]
# (the first run of body bytes does not move). Returns chunked_result_t or an http1_error_t (negative).
cdef int chunked_decode(
    chunked_t* decoder, char* data, size_t length, size_t* consumed, size_t* data_off, size_t* data_len
) noexcept nogil
