"""Heads to header blocks: names in lower case, nothing that belongs to one connection, secrets never indexed."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastmesh._core.ascii cimport ascii_equal, ascii_next_element
from fastmesh._core.headers cimport (
    HEAD_ASTERISK_FORM,
    HEAD_UPGRADE,
    HEADER_CONNECTION,
    HEADER_COOKIE,
    HEADER_DROPPED,
    HEADER_HOST,
    HEADER_HTTP2_SETTINGS,
    HEADER_KEEP_ALIVE,
    HEADER_OTHER,
    HEADER_PROXY_AUTHORIZATION,
    HEADER_PROXY_CONNECTION,
    HEADER_TE,
    HEADER_TRANSFER_ENCODING,
    HEADER_UPGRADE,
    METHOD_CONNECT,
    METHOD_GET,
    METHOD_POST,
    Head,
    header_t,
)
from fastmesh._core.hpack cimport (
    hpack_field_bound,
    hpack_write_field,
    hpack_write_indexed,
    hpack_write_name,
    hpack_write_named,
)

cdef enum:                      # of the static table (RFC 7541 Appendix A)
    STATIC_AUTHORITY = 1
    STATIC_GET = 2
    STATIC_POST = 3
    STATIC_PATH = 4
    STATIC_HTTP = 6
    STATIC_HTTPS = 7

cdef inline bint is_of_connection(uint8_t header_id) noexcept nogil:
    return (
        header_id == HEADER_CONNECTION
        or header_id == HEADER_TRANSFER_ENCODING
        or header_id == HEADER_KEEP_ALIVE
        or header_id == HEADER_UPGRADE
        or header_id == HEADER_PROXY_CONNECTION
        or header_id == HEADER_HTTP2_SETTINGS
    )


# What an intermediary must not keep in a compression table (RFC 7541 7.1.3).
cdef inline bint is_sensitive(const head_t* head, const header_t* header) noexcept nogil:
    cdef const char* name = head.text + header.name_off
    if header.id != HEADER_OTHER:
        return header.id == HEADER_COOKIE or header.id == HEADER_PROXY_AUTHORIZATION
    if header.name_len == 13:
        return ascii_equal(name, b"authorization", 13)
    return header.name_len == 10 and ascii_equal(name, b"set-cookie", 10)


# The fields of the opening handshake of WebSocket, which RFC 8441 leaves out.
cdef inline bint is_handshake(const head_t* head, const header_t* header) noexcept nogil:
    cdef const char* name = head.text + header.name_off
    if header.id != HEADER_OTHER:
        return False
    if header.name_len == 17:
        return ascii_equal(name, b"sec-websocket-key", 17)
    return header.name_len == 20 and ascii_equal(name, b"sec-websocket-accept", 20)


cdef bint takes_trailers(const head_t* head, const header_t* te) noexcept nogil:
    cdef const char* at = head.text + te.value_off
    cdef const char* end = at + te.value_len
    cdef const char* coding
    cdef size_t length = 0
    while True:
        coding = ascii_next_element(&at, end, &length)
        if coding == NULL:
            return False
        if length == 8 and ascii_equal(coding, b"trailers", 8):
            return True


cdef size_t fields_bound(const head_t* head) noexcept nogil:
    cdef const header_t* header
    cdef size_t bound = 0
    cdef uint16_t i
    for i in range(head.count):
        header = &head.headers[i]
        bound += hpack_field_bound(header.name_len, header.value_len)
    return bound


cdef char* put_fields(const head_t* head, bint is_upgrade, char* out) noexcept nogil:
    cdef const header_t* header
    cdef bint has_te = False
    cdef uint16_t i
    for i in range(head.count):
        header = &head.headers[i]
        if header.id == HEADER_TE:
            # One field of a connection that HTTP/2 keeps, so it may have been dropped as such.
            if not has_te and takes_trailers(head, header):
                has_te = True
                out = hpack_write_field(out, b"te", 2, b"trailers", 8, False)
            continue
        if header.flags & HEADER_DROPPED or is_of_connection(header.id) or header.id == HEADER_HOST:
            continue
        if is_upgrade and is_handshake(head, header):
            continue
        out = hpack_write_field(
            out, head.text + header.name_off, header.name_len, head.text + header.value_off, header.value_len,
            is_sensitive(head, header),
        )
    return out


cdef char* put_path(const head_t* head, char* out) noexcept nogil:
    cdef const char* target = head.text + head.target_off
    # An absolute URI without a path: its path is "/" (RFC 9110 4.2.3).
    cdef bint needs_slash = head.target_len == 0 or target[0] == 63
    if head.flags & HEAD_ASTERISK_FORM:
        return hpack_write_named(out, STATIC_PATH, b"*", 1, False)
    if head.target_len + needs_slash == 1:
        return hpack_write_indexed(out, STATIC_PATH)
    out = hpack_write_name(out, STATIC_PATH, head.target_len + needs_slash, False)
    if needs_slash:
        out[0] = 47
        out += 1
    memcpy(out, target, head.target_len)
    return out + head.target_len


cdef inline char* put_method(const head_t* head, char* out) noexcept nogil:
    if head.method_id == METHOD_GET:
        return hpack_write_indexed(out, STATIC_GET)
    if head.method_id == METHOD_POST:
        return hpack_write_indexed(out, STATIC_POST)
    return hpack_write_named(out, STATIC_GET, head.text + head.method_off, head.method_len, False)


# An upgrade as RFC 8441 has it; the protocol is what the upgrade field says.
cdef char* put_connect_to(const head_t* head, char* out) noexcept nogil:
    cdef const header_t* header
    cdef uint16_t i
    out = hpack_write_named(out, STATIC_GET, b"CONNECT", 7, False)
    for i in range(head.count):
        header = &head.headers[i]
        if header.id == HEADER_UPGRADE and not header.flags & HEADER_DROPPED:
            return hpack_write_field(
                out, b":protocol", 9, head.text + header.value_off, header.value_len, False
            )
    return out


cdef size_t http2_request_bound(const head_t* head) noexcept nogil:
    # The protocol is among the fields.
    cdef size_t pseudo = <size_t>head.method_len + head.target_len + head.authority_len
    return pseudo + 5 * hpack_field_bound(10, 0) + fields_bound(head)


cdef size_t http2_write_request(const head_t* head, const char* scheme, char* out) noexcept nogil:
    cdef bint is_upgrade = (head.flags & HEAD_UPGRADE) != 0
    cdef char* at = put_connect_to(head, out) if is_upgrade else put_method(head, out)
    if head.method_id != METHOD_CONNECT:
        at = hpack_write_indexed(at, STATIC_HTTPS if scheme[4] == 115 else STATIC_HTTP)
        at = put_path(head, at)
    at = hpack_write_named(at, STATIC_AUTHORITY, head.text + head.authority_off, head.authority_len, False)
    return put_fields(head, is_upgrade, at) - out


cdef size_t http2_response_bound(const head_t* head) noexcept nogil:
    return hpack_field_bound(7, 3) + fields_bound(head)


cdef size_t http2_write_response(const head_t* head, char* out) noexcept nogil:
    cdef bint is_upgrade = head.status == 101
    # RFC 8441 4: what was switched to goes on behind a 200.
    cdef uint16_t status = 200 if is_upgrade else head.status
    cdef char[3] digits
    digits[0] = <char>(48 + status // 100)
    digits[1] = <char>(48 + status // 10 % 10)
    digits[2] = <char>(48 + status % 10)
    return put_fields(head, is_upgrade, hpack_write_field(out, b":status", 7, digits, 3, False)) - out


cdef size_t http2_trailers_bound(const head_t* head) noexcept nogil:
    return fields_bound(head)


cdef size_t http2_write_trailers(const head_t* head, char* out) noexcept nogil:
    return put_fields(head, False, out) - out


# --- the face to Python

ctypedef size_t (*write_t)(const head_t*, char*) noexcept nogil


cdef bytes write_with(write_t write, const head_t* head, size_t bound):
    cdef char* out = <char*>malloc(bound + 1)
    if out == NULL:
        raise MemoryError
    block = out[: write(head, out)]
    free(out)
    return block


cdef size_t write_plain(const head_t* head, char* out) noexcept nogil:
    return http2_write_request(head, b"http", out)


cdef size_t write_secure(const head_t* head, char* out) noexcept nogil:
    return http2_write_request(head, b"https", out)


def write_request(Head head not None, bint secure=False):
    return write_with(write_secure if secure else write_plain, &head.head, http2_request_bound(&head.head))


def write_response(Head head not None):
    return write_with(http2_write_response, &head.head, http2_response_bound(&head.head))


def write_trailers(Head head not None):
    return write_with(http2_write_trailers, &head.head, http2_trailers_bound(&head.head))


def rehearse_request(Head head not None, unsigned int times):
    cdef char* out = <char*>malloc(http2_request_bound(&head.head))
    cdef size_t length = 0
    cdef unsigned int _i
    if out == NULL:
        raise MemoryError
    with nogil:
        for _i in range(times):
            if http2_request_bound(&head.head):
                length = http2_write_request(&head.head, b"http", out)
    free(out)
    return length
