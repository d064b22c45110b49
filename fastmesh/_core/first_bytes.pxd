"""Which protocol a connection's first bytes belong to. Sans-IO."""

cdef enum first_bytes_t:
    FIRST_MORE = 0                      # may become HTTP
    FIRST_HTTP1 = 1
    FIRST_HTTP2 = 2                     # the connection preface (RFC 9113 3.4)
    FIRST_OTHER = 3

cdef enum:
    FIRST_MAX_BYTES = 8192              # of a request line, until it is taken for what it looks like

# `is_last`: no more will come for now. The answer is then the best guess, never FIRST_MORE.
cdef int first_bytes_read(const char* data, size_t length, bint is_last) noexcept nogil
