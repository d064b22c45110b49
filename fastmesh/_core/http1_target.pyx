"""The four forms of a request target, and what may stand as an authority."""

from libc.stdint cimport uint32_t
from libc.string cimport memchr

from fastmesh._core.ascii cimport ASCII_DIGIT, ASCII_HEX, ASCII_HOST, ascii_equal, ascii_is, ascii_skip
from fastmesh._core.headers cimport (
    HEAD_ABSOLUTE_FORM,
    HEAD_ASTERISK_FORM,
    METHOD_CONNECT,
    METHOD_OPTIONS,
    head_t,
)

cdef enum:
    PORT_MAX = 65535
    IPV6_MAX_BYTES = 45         # ::ffff: and a dotted IPv4 address, in full
    IPV6_MIN_BYTES = 2


cdef const char* skip_ipv6(const char* at, const char* end) noexcept nogil:
    # `at` is behind "[". A zone id is local to a node, and an IPvFuture is nobody's: neither is taken.
    cdef const char* start = at
    cdef int colons = 0
    while at < end and (ascii_is(at[0], ASCII_HEX) or at[0] == 58 or at[0] == 46):
        colons += at[0] == 58
        at += 1
    if at == end or at[0] != 93 or colons < 2 or not IPV6_MIN_BYTES <= at - start <= IPV6_MAX_BYTES:
        return NULL
    return at + 1


cdef const char* skip_reg_name(const char* at, const char* end) noexcept nogil:
    cdef const char* start = at
    while True:
        at = ascii_skip(at, end, ASCII_HOST)
        if at - start > AUTHORITY_HOST_MAX_BYTES:
            return NULL
        if at == end or at[0] != 37:
            return at if at > start else NULL
        if end - at < 3 or not ascii_is(at[1], ASCII_HEX) or not ascii_is(at[2], ASCII_HEX):
            return NULL
        at += 3


cdef bint is_port(const char* at, const char* end) noexcept nogil:
    cdef uint32_t port = 0
    if end - at > 5:
        return False
    while at < end:
        if not ascii_is(at[0], ASCII_DIGIT):
            return False
        port = port * 10 + <uint32_t>(at[0] - 48)
        at += 1
    return port <= PORT_MAX


cdef bint http1_is_authority(const char* text, size_t length) noexcept nogil:
    cdef const char* end = text + length
    cdef const char* at
    if length == 0:
        return False
    at = skip_ipv6(text + 1, end) if text[0] == 91 else skip_reg_name(text, end)
    if at == NULL:
        return False
    # RFC 3986 3.2.3: the port may be empty behind its colon.
    return at == end or (at[0] == 58 and is_port(at + 1, end))


cdef void set_path(head_t* head, const char* start, const char* end) noexcept nogil:
    cdef const char* query = <const char*>memchr(start, 63, end - start)
    cdef const char* path_end = query if query != NULL else end
    head.path_off = <uint32_t>(start - head.text)
    head.path_len = <uint32_t>(path_end - start)
    head.query_off = <uint32_t>(path_end - head.text)
    head.query_len = 0
    if query != NULL:
        head.query_off += 1
        head.query_len = <uint32_t>(end - query - 1)


cdef bint parse_absolute(head_t* head, const char* start, const char* end) noexcept nogil:
    cdef const char* authority
    cdef const char* at
    if end - start > 7 and ascii_equal(start, b"http://", 7):
        authority = start + 7
    elif end - start > 8 and ascii_equal(start, b"https://", 8):
        authority = start + 8
    else:
        return False
    at = authority
    while at < end and at[0] != 47 and at[0] != 63:
        at += 1
    if not http1_is_authority(authority, at - authority):
        return False
    head.flags |= HEAD_ABSOLUTE_FORM
    head.authority_off = <uint32_t>(authority - head.text)
    head.authority_len = <uint32_t>(at - authority)
    head.target_off = <uint32_t>(at - head.text)
    head.target_len = <uint32_t>(end - at)
    set_path(head, at, end)
    if head.path_len == 0:
        # An empty path is "/" (RFC 9110 4.2.3): the last slash of "://" serves. The writer puts one before a query.
        head.path_off = <uint32_t>(authority - 1 - head.text)
        head.path_len = 1
        if at == end and head.method_id == METHOD_OPTIONS:
            head.flags |= HEAD_ASTERISK_FORM        # RFC 9112 3.2.4: sent on as "*"
        elif at == end:
            head.target_off = head.path_off
            head.target_len = 1
    return True


cdef bint parse_connect(head_t* head, const char* start, const char* end) noexcept nogil:
    # authority-form: host and port, both needed (RFC 9112 3.2.3).
    if not http1_is_authority(start, end - start) or not ascii_is((end - 1)[0], ASCII_DIGIT):
        return False
    if memchr(start, 58, end - start) == NULL:
        return False
    head.authority_off = head.target_off
    head.authority_len = head.target_len
    head.path_off = head.target_off
    head.path_len = head.target_len
    return True


cdef bint http1_parse_target(head_t* head, const char* start, size_t length) noexcept nogil:
    cdef const char* end = start + length
    head.target_off = <uint32_t>(start - head.text)
    head.target_len = <uint32_t>length
    if head.method_id == METHOD_CONNECT:
        return parse_connect(head, start, end)
    if start[0] == 47:
        set_path(head, start, end)
        return True
    if start[0] == 42:
        head.path_off = head.target_off
        head.path_len = 1
        head.flags |= HEAD_ASTERISK_FORM
        return length == 1 and head.method_id == METHOD_OPTIONS
    return parse_absolute(head, start, end)


def is_authority(bytes text not None):
    return http1_is_authority(text, len(text))
