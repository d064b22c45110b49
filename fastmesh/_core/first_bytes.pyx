"""Which protocol a connection's first bytes belong to.

HTTP/1 is a request line: a method in capitals, a target, a version. Text protocols begin their lines like that too
("EHLO example.org"), so it is the version that tells. A line that stops before it is HTTP if its target is a path.
"""

from libc.string cimport memchr, memcmp

cdef enum:
    METHOD_MAX_BYTES = 24
    PREFACE_BYTES = 24
    PREFACE_SURE_BYTES = 14             # "PRI * HTTP/2.0"
    VERSION_BYTES = 9                   # " HTTP/1.1"

cdef const char* PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef size_t method_length(const char* data, size_t length) noexcept nogil:
    cdef size_t at = 0
    while at < length and (c"A" <= data[at] <= c"Z" or data[at] == c"-"):
        at += 1
    return at


cdef bint is_text(const char* data, size_t length) noexcept nogil:
    """Up to the end of its first line."""
    cdef size_t i
    for i in range(length):
        if data[i] == c"\n":
            return True
        if (data[i] < 32 and data[i] != c"\r") or data[i] == 127:     # bytes above 127 are negative
            return False
    return True


cdef bint ends_with_version(const char* begin, const char* end) noexcept nogil:
    """A line without its line feed."""
    if end > begin and (end - 1)[0] == c"\r":
        end -= 1
    if end - begin < VERSION_BYTES or memcmp(end - VERSION_BYTES, b" HTTP/", 6) != 0:
        return False
    return c"0" <= (end - 3)[0] <= c"9" and (end - 2)[0] == c"." and c"0" <= (end - 1)[0] <= c"9"


cdef int read_line(const char* data, size_t length, bint is_last) noexcept nogil:
    cdef size_t at = method_length(data, length)
    cdef const char* lf
    if at > METHOD_MAX_BYTES:
        return FIRST_OTHER
    if at == length:
        return FIRST_OTHER if is_last else FIRST_MORE
    if at == 0 or data[at] != c" " or not is_text(data, length):
        return FIRST_OTHER
    at += 1
    lf = <const char*>memchr(data + at, 10, length - at)
    if lf != NULL:
        return FIRST_HTTP1 if ends_with_version(data + at, lf) else FIRST_OTHER
    if not is_last and length < FIRST_MAX_BYTES:
        return FIRST_MORE
    return FIRST_HTTP1 if at < length and data[at] == c"/" else FIRST_OTHER


cdef int first_bytes_read(const char* data, size_t length, bint is_last) noexcept nogil:
    cdef size_t compared = length if length < PREFACE_BYTES else PREFACE_BYTES
    if memcmp(data, PREFACE, compared) == 0:
        if compared == PREFACE_BYTES or (is_last and compared >= PREFACE_SURE_BYTES):
            return FIRST_HTTP2
        return FIRST_OTHER if is_last else FIRST_MORE
    return read_line(data, length, is_last)


# ---- the face for tests

MORE = FIRST_MORE
HTTP1 = FIRST_HTTP1
HTTP2 = FIRST_HTTP2
OTHER = FIRST_OTHER
MAX_BYTES = FIRST_MAX_BYTES


def read(bytes data not None, bint is_last=False):
    return first_bytes_read(data, len(data), is_last)
