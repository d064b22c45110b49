"""What the pseudo-header fields of a block mean, and what framing follows."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from fastmesh._core.ascii cimport (
    ASCII_DIGIT,
    ASCII_TARGET,
    ASCII_TOKEN,
    ascii_equal,
    ascii_is,
    ascii_skip,
)
from fastmesh._core.headers cimport (
    FRAMING_CHUNKED,
    FRAMING_LENGTH,
    HEAD_EXPECT_CONTINUE,
    HEAD_KEEP_ALIVE,
    HEAD_UPGRADE,
    METHOD_CONNECT,
    METHOD_GET,
    METHOD_PATCH,
    METHOD_POST,
    METHOD_PUT,
    METHOD_TRACE,
    Head,
    header_t,
)
from fastmesh._core.hpack cimport (
    HPACK_BAD,
    HPACK_NO_MEMORY,
    Decoder,
)
from fastmesh._core.http1_parser cimport (
    HTTP1_METHOD_MAX_BYTES,
    http1_drop_forbidden_trailers,
    http1_identify_method,
)
from fastmesh._core.http1_target cimport http1_is_authority, http1_parse_target
from fastmesh._core.http2_fields cimport (
    HTTP2_PSEUDO_AUTHORITY,
    HTTP2_PSEUDO_METHOD,
    HTTP2_PSEUDO_PATH,
    HTTP2_PSEUDO_PROTOCOL,
    HTTP2_PSEUDO_SCHEME,
    HTTP2_PSEUDO_STATUS,
    HTTP2_SEEN_EXPECT_CONTINUE,
    HTTP2_SEEN_LENGTH,
    http2_read_fields,
    http2_seen_t,
    http2_value_t,
)

cdef enum:
    OF_REQUEST = (
        1 << HTTP2_PSEUDO_METHOD | 1 << HTTP2_PSEUDO_SCHEME | 1 << HTTP2_PSEUDO_AUTHORITY | 1 << HTTP2_PSEUDO_PATH
        | 1 << HTTP2_PSEUDO_PROTOCOL
    )
    OF_PLAIN_CONNECT = 1 << HTTP2_PSEUDO_METHOD | 1 << HTTP2_PSEUDO_AUTHORITY
    OF_RESPONSE = 1 << HTTP2_PSEUDO_STATUS


# --- reading

cdef inline int refuse(const char** detail, const char* text) noexcept nogil:
    detail[0] = text
    return HTTP2_HEAD_MALFORMED


cdef int read(
    hpack_decoder_t* decoder, const char* block, size_t length, const http2_head_limits_t* limits, uint8_t allowed,
    head_t* head, http2_seen_t* seen, const char** detail,
) noexcept nogil:
    cdef head_t empty
    cdef int error
    memset(&empty, 0, sizeof(head_t))
    empty.text = head.text
    empty.text_cap = head.text_cap
    empty.text_len = head.text_len
    empty.headers = head.headers
    empty.capacity = head.capacity
    empty.version_minor = 1
    empty.flags = HEAD_KEEP_ALIVE
    head[0] = empty
    memset(seen, 0, sizeof(http2_seen_t))
    seen.allowed = allowed
    seen.detail = b""
    error = http2_read_fields(decoder, block, length, limits, head, seen)
    detail[0] = seen.detail
    return error


cdef inline bint has(const http2_seen_t* seen, uint8_t pseudo) noexcept nogil:
    return seen.pseudos >> pseudo & 1


cdef int set_method(head_t* head, const http2_seen_t* seen, const char** detail) noexcept nogil:
    cdef http2_value_t method = seen.pseudo[HTTP2_PSEUDO_METHOD]
    cdef const char* at = head.text + method.offset
    if not 0 < method.length <= HTTP1_METHOD_MAX_BYTES:
        return refuse(detail, b"bad :method")
    if ascii_skip(at, at + method.length, ASCII_TOKEN) < at + method.length:
        return refuse(detail, b"bad :method")
    head.method_off = method.offset
    head.method_len = method.length
    head.method_id = http1_identify_method(at, method.length)
    return 0


cdef int check_scheme(const head_t* head, const http2_seen_t* seen, const char** detail) noexcept nogil:
    cdef http2_value_t scheme = seen.pseudo[HTTP2_PSEUDO_SCHEME]
    cdef const char* at = head.text + scheme.offset
    if scheme.length == 4 and ascii_equal(at, b"http", 4):
        return 0
    if scheme.length == 5 and ascii_equal(at, b"https", 5):
        return 0
    return refuse(detail, b"bad :scheme")


cdef int set_target(
    head_t* head, const http2_seen_t* seen, const http2_head_limits_t* limits, const char** detail
) noexcept nogil:
    cdef http2_value_t path = seen.pseudo[HTTP2_PSEUDO_PATH]
    cdef const char* at = head.text + path.offset
    if path.length > limits.target_max_bytes:
        return HTTP2_HEAD_TARGET_TOO_LONG
    # A path or "*": no absolute-form here.
    if path.length == 0 or not (at[0] == 47 or at[0] == 42):
        return refuse(detail, b"bad :path")
    if ascii_skip(at, at + path.length, ASCII_TARGET) < at + path.length:
        return refuse(detail, b"bad :path")
    return 0 if http1_parse_target(head, at, path.length) else refuse(detail, b"bad :path")


# RFC 8441: such a CONNECT is what HTTP/1 calls an upgrade.
cdef int set_upgrade(head_t* head, const http2_seen_t* seen, const char** detail) noexcept nogil:
    cdef http2_value_t protocol = seen.pseudo[HTTP2_PSEUDO_PROTOCOL]
    if head.method_id != METHOD_CONNECT or not has(seen, HTTP2_PSEUDO_AUTHORITY):
        return refuse(detail, b"misplaced :protocol")
    if protocol.length != 9 or not ascii_equal(head.text + protocol.offset, b"websocket", 9):
        return refuse(detail, b"unknown :protocol")
    memcpy(head.text + head.method_off, b"GET", 3)
    head.method_len = 3
    head.method_id = METHOD_GET
    head.flags |= HEAD_UPGRADE
    return 0


cdef int set_authority(head_t* head, const http2_seen_t* seen, const char** detail) noexcept nogil:
    cdef const header_t* host
    if seen.host == 0:
        return refuse(detail, b"neither :authority nor host")
    host = &head.headers[seen.host - 1]
    if not http1_is_authority(head.text + host.value_off, host.value_len):
        return refuse(detail, b"bad authority")
    head.authority_off = host.value_off
    head.authority_len = host.value_len
    if head.method_id == METHOD_CONNECT and not http1_parse_target(head, head.text + host.value_off, host.value_len):
        return refuse(detail, b"bad authority")
    return 0


cdef int set_request_framing(head_t* head, const http2_seen_t* seen, bint is_end, const char** detail) noexcept nogil:
    cdef bint has_length = (seen.flags & HTTP2_SEEN_LENGTH) != 0
    if head.method_id == METHOD_CONNECT or head.flags & HEAD_UPGRADE:
        # What follows is no content, but the other protocol.
        return refuse(detail, b"CONNECT with content-length") if has_length else 0
    if head.method_id == METHOD_TRACE and (has_length or not is_end):
        return refuse(detail, b"TRACE with content")
    if is_end:
        # HTTP/1 says of a method that has content that there is none (RFC 9110 8.6).
        if has_length or head.method_id in (METHOD_POST, METHOD_PUT, METHOD_PATCH):
            head.framing = FRAMING_LENGTH
        return 0 if head.content_length == 0 else refuse(detail, b"content-length without content")
    head.framing = FRAMING_LENGTH if has_length else FRAMING_CHUNKED
    return 0


cdef int http2_read_request(
    hpack_decoder_t* decoder, const char* block, size_t length, bint is_end,
    const http2_head_limits_t* limits, head_t* head, const char** detail,
) noexcept nogil:
    cdef http2_seen_t seen
    cdef int error = read(decoder, block, length, limits, OF_REQUEST, head, &seen, detail)
    if error < 0:
        return error
    error = set_method(head, &seen, detail)
    if error < 0:
        return error
    if head.method_id == METHOD_CONNECT and not has(&seen, HTTP2_PSEUDO_PROTOCOL):
        if seen.pseudos != OF_PLAIN_CONNECT:
            return refuse(detail, b"CONNECT takes :authority only")
    else:
        if has(&seen, HTTP2_PSEUDO_PROTOCOL):
            error = set_upgrade(head, &seen, detail)
        if error == 0:
            error = check_scheme(head, &seen, detail)
        if error == 0:
            error = set_target(head, &seen, limits, detail)
    if error == 0:
        error = set_authority(head, &seen, detail)
    if error == 0:
        error = set_request_framing(head, &seen, is_end, detail)
    if seen.flags & HTTP2_SEEN_EXPECT_CONTINUE:
        head.flags |= HEAD_EXPECT_CONTINUE
    return error


cdef int http2_read_response(
    hpack_decoder_t* decoder, const char* block, size_t length, bint is_end,
    const http2_head_limits_t* limits, head_t* head, const char** detail,
) noexcept nogil:
    cdef http2_seen_t seen
    cdef const char* at
    cdef int error = read(decoder, block, length, limits, OF_RESPONSE, head, &seen, detail)
    if error < 0:
        return error
    at = head.text + seen.pseudo[HTTP2_PSEUDO_STATUS].offset
    if seen.pseudo[HTTP2_PSEUDO_STATUS].length != 3:
        return refuse(detail, b"bad :status")
    if not (ascii_is(at[0], ASCII_DIGIT) and ascii_is(at[1], ASCII_DIGIT) and ascii_is(at[2], ASCII_DIGIT)):
        return refuse(detail, b"bad :status")
    head.status = <uint16_t>((at[0] - 48) * 100 + (at[1] - 48) * 10 + (at[2] - 48))
    # RFC 9113 8.6: there is no 101 here.
    if not 100 <= head.status <= 599 or head.status == 101:
        return refuse(detail, b"bad :status")
    if head.status < 200 and is_end:
        return refuse(detail, b"an interim response that ends the stream")
    if head.status < 200 or head.status == 204:
        return refuse(detail, b"content-length where there is no content") if head.content_length else 0
    if is_end or head.status == 304:
        return 0
    head.framing = FRAMING_LENGTH if seen.flags & HTTP2_SEEN_LENGTH else FRAMING_CHUNKED
    return 0


cdef int http2_read_trailers(
    hpack_decoder_t* decoder, const char* block, size_t length,
    const http2_head_limits_t* limits, head_t* head, const char** detail,
) noexcept nogil:
    cdef http2_seen_t seen
    cdef int error = read(decoder, block, length, limits, 0, head, &seen, detail)
    if error == 0:
        http1_drop_forbidden_trailers(head)
    return error


# --- the face to Python

class HeadError(ValueError):
    def __init__(self, name, detail):
        super().__init__(f"{name}: {detail}" if detail else name)
        self.name = name
        self.detail = detail


cdef dict ERROR_NAMES = {
    HPACK_BAD: "bad_compression",
    HPACK_NO_MEMORY: "no_memory",
    HTTP2_HEAD_MALFORMED: "malformed",
    HTTP2_HEAD_TOO_LARGE: "too_large",
    HTTP2_HEAD_TARGET_TOO_LONG: "target_too_long",
}

ctypedef int (*read_t)(
    hpack_decoder_t*, const char*, size_t, bint, const http2_head_limits_t*, head_t*, const char**
) noexcept nogil


cdef int read_trailers_of(
    hpack_decoder_t* decoder, const char* block, size_t length, bint is_end,
    const http2_head_limits_t* limits, head_t* head, const char** detail,
) noexcept nogil:
    return http2_read_trailers(decoder, block, length, limits, head, detail)


cdef Head read_with(read_t read_block, bytes block, bint is_end, Decoder decoder, tuple limits_max):
    cdef Head head = Head(limits_max[1], limits_max[2])
    cdef Decoder own = Decoder() if decoder is None else decoder
    cdef http2_head_limits_t limits
    cdef const char* detail = b""
    cdef int error
    limits.target_max_bytes, limits.head_max_bytes, limits.header_max_count = limits_max
    error = read_block(&own.decoder, block, len(block), is_end, &limits, &head.head, &detail)
    if error < 0:
        raise HeadError(ERROR_NAMES[error], detail.decode())
    return head


def read_request(
    bytes block not None, bint is_end=True, Decoder decoder=None, *, target_max=8192, head_max=65536, header_max=100
):
    return read_with(http2_read_request, block, is_end, decoder, (target_max, head_max, header_max))


def read_response(bytes block not None, bint is_end=True, Decoder decoder=None, *, head_max=65536, header_max=100):
    return read_with(http2_read_response, block, is_end, decoder, (0, head_max, header_max))


def read_trailers(bytes block not None, Decoder decoder=None, *, head_max=65536, header_max=100):
    return read_with(read_trailers_of, block, True, decoder, (0, head_max, header_max))


def rehearse_request(bytes block not None, unsigned int times, Decoder decoder=None):
    cdef Decoder own = Decoder() if decoder is None else decoder
    cdef Head head = Head(65536, 100)
    cdef http2_head_limits_t limits = http2_head_limits_t(8192, 65536, 100)
    cdef const char* text = block
    cdef size_t length = len(block)
    cdef const char* detail = b""
    cdef unsigned int _i
    cdef int error = 0
    with nogil:
        for _i in range(times):
            head.head.text_len = 0
            error = http2_read_request(&own.decoder, text, length, True, &limits, &head.head, &detail)
    if error < 0:
        raise HeadError(ERROR_NAMES[error], detail.decode())
    return head
