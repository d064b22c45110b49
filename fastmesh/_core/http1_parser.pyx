"""Strict parsing of HTTP/1 heads: start lines, fields, framing."""

from libc.string cimport memchr, memcmp, memset

from fastmesh._core.ascii cimport (
    ASCII_DIGIT,
    ASCII_TARGET,
    ASCII_TOKEN,
    ascii_equal,
    ascii_find,
    ascii_is,
    ascii_is_ows,
    ascii_skip,
    ascii_skip_text,
)
from fastmesh._core.headers cimport (
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    HEAD_ABSOLUTE_FORM,
    HEAD_EXPECT_CONTINUE,
    HEAD_KEEP_ALIVE,
    HEAD_UPGRADE,
    HEADER_DROPPED,
    HEADER_OTHER,
    METHOD_CONNECT,
    METHOD_DELETE,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_OPTIONS,
    METHOD_OTHER,
    METHOD_PATCH,
    METHOD_POST,
    METHOD_PUT,
    METHOD_TRACE,
    Head,
    head_to_python,
    header_t,
)
from fastmesh._core.http1_fields cimport (
    HTTP1_SEEN_CLEARTEXT_HTTP2,
    HTTP1_SEEN_CLOSE,
    HTTP1_SEEN_CODING,
    HTTP1_SEEN_EXPECT_CONTINUE,
    HTTP1_SEEN_HOST,
    HTTP1_SEEN_KEEP_ALIVE,
    HTTP1_SEEN_LENGTH,
    HTTP1_SEEN_UPGRADE,
    HTTP1_SEEN_UPGRADE_OPTION,
    http1_has_bad_line_end,
    http1_parse_fields,
    http1_seen_t,
)
from fastmesh._core.http1_target cimport http1_is_authority, http1_parse_target

cdef enum:
    SCAN_BLOCK_BYTES = 32
    SCAN_WORD_BYTES = 8
    VERSION_BYTES = 8           # HTTP/1.1

# --- where a head ends

cdef inline uint8_t stops_in(const uint8_t* at, int count) noexcept nogil:
    # Not 0 when the end of the head, or a bad line end, is among these bytes. Vector code, as `count` is a constant.
    cdef uint8_t found = 0
    cdef int i
    for i in range(count):
        found |= ((at + i - 1)[0] == 13) ^ (at[i] == 10)
        found |= at[i] == 0
        found |= (at[i] == 10) & ((at + i - 2)[0] == 10)
    return found


cdef extern from *:
    """
    /* Behind the first LF CR LF, or NULL. Where there is no SSE2, a line at a time. */
    #include <stdint.h>
    #include <string.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    static const char* find_empty_line(const char* at, const char* end) {
    #ifdef __SSE2__
        for (; end - at >= 16; at += 16) {
            const __m128i bytes = _mm_loadu_si128((const __m128i*)at);
            uint32_t found = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(10)));
            for (; found; found &= found - 1) {
                const char* line_end = at + __builtin_ctz(found);
                if (end - line_end > 2 && line_end[1] == 13 && line_end[2] == 10)
                    return line_end + 3;
            }
        }
    #endif
        while (end - at > 2 && (at = (const char*)memchr(at, 10, end - at - 2)) != NULL) {
            if (at[1] == 13 && at[2] == 10)
                return at + 3;
            at++;
        }
        return NULL;
    }
    """
    const char* find_empty_line(const char* at, const char* end) noexcept nogil


cdef ssize_t find_whole_head(const char* data, size_t length, size_t line_max) noexcept nogil:
    # The common case: all of a head is here, within the limits. 0: look closer. What is wrong within its lines is left
    # to the parse.
    cdef const char* end = find_empty_line(data, data + length)
    if end == NULL:
        return 0
    if <size_t>(end - data) > line_max and memchr(data, 10, line_max) == NULL:
        return 0
    return end - data


cdef ssize_t http1_find_head_end(
    const char* data, size_t length, size_t* scanned, const http1_limits_t* limits
) noexcept nogil:
    cdef const uint8_t* text = <const uint8_t*>data
    cdef ssize_t whole
    cdef size_t limit = limits.head_max_bytes
    cdef size_t end = length if length < limit else limit
    cdef size_t line_max = <size_t>limits.start_line_max_bytes + 2
    cdef size_t at = scanned[0]
    cdef int too_long = HTTP1_HEAD_TOO_LARGE if length >= limit else 0
    if at == 0:
        whole = find_whole_head(data, end, line_max)
        if whole > 0:
            return whole
    if at <= line_max <= end and memchr(data, 10, line_max) == NULL:
        # Looked at no further than that, so that the error does not depend on how the bytes come.
        end = line_max
        too_long = HTTP1_START_LINE_TOO_LONG
    while at < end:
        if at >= 2 and end - at >= SCAN_BLOCK_BYTES and not stops_in(text + at, SCAN_BLOCK_BYTES):
            at += SCAN_BLOCK_BYTES
            continue
        if at >= 2 and end - at >= SCAN_WORD_BYTES and not stops_in(text + at, SCAN_WORD_BYTES):
            at += SCAN_WORD_BYTES
            continue
        if text[at] == 0 or (text[at] == 10) != (at > 0 and text[at - 1] == 13):
            return HTTP1_BAD_LINE_END
        if text[at] == 10 and at >= 3 and text[at - 2] == 10:
            return <ssize_t>(at + 1)
        at += 1
    scanned[0] = at
    return too_long


cdef size_t http1_skip_empty_lines(const char* data, size_t length) noexcept nogil:
    cdef size_t at = 0
    while at < 4 and length - at >= 2 and data[at] == 13 and data[at + 1] == 10:
        at += 2
    return at


# --- the bytes of a whole head

cdef bint is_whole(const char* data, size_t length) noexcept nogil:
    return length >= 4 and memcmp(data + length - 4, b"\r\n\r\n", 4) == 0


# --- what requests and responses share

cdef void begin(const char* data, size_t length, head_t* head) noexcept nogil:
    cdef header_t* headers = head.headers
    cdef uint16_t capacity = head.capacity
    memset(head, 0, sizeof(head_t))
    head.headers = headers
    head.capacity = capacity
    head.text = <char*>data
    head.text_len = <uint32_t>length


cdef inline uint16_t count_max(const head_t* head, const http1_limits_t* limits) noexcept nogil:
    return limits.header_max_count if limits.header_max_count < head.capacity else head.capacity


# Where a line ends is in doubt, whatever else was found: that goes first.
cdef int worst_of(int error, const char* data, size_t length) noexcept nogil:
    return HTTP1_BAD_LINE_END if http1_has_bad_line_end(data, length) else error


cdef int read_version(head_t* head, const char* at) noexcept nogil:
    if memcmp(at, b"HTTP/", 5) or not ascii_is(at[5], ASCII_DIGIT) or at[6] != 46 or not ascii_is(at[7], ASCII_DIGIT):
        return HTTP1_BAD_VERSION
    if at[5] != 49 or at[7] > 49:
        return HTTP1_VERSION_NOT_SUPPORTED
    head.version_minor = <uint8_t>(at[7] - 48)
    return HTTP1_OK


cdef int check_coding(const head_t* head, const http1_seen_t* seen) noexcept nogil:
    if seen.flags & HTTP1_SEEN_CODING:
        if seen.flags & HTTP1_SEEN_LENGTH:
            return HTTP1_BAD_FRAMING
        if head.version_minor == 0:
            return HTTP1_BAD_TRANSFER_ENCODING
    return HTTP1_OK


cdef void set_connection_flags(head_t* head, const http1_seen_t* seen) noexcept nogil:
    if not seen.flags & HTTP1_SEEN_CLOSE and (head.version_minor or seen.flags & HTTP1_SEEN_KEEP_ALIVE):
        head.flags |= HEAD_KEEP_ALIVE
    # HTTP/1.0 knows no upgrade (RFC 9110 7.8).
    if head.version_minor and not seen.flags & HTTP1_SEEN_CLEARTEXT_HTTP2:
        if seen.flags & HTTP1_SEEN_UPGRADE and seen.flags & HTTP1_SEEN_UPGRADE_OPTION:
            head.flags |= HEAD_UPGRADE


# --- requests

cdef uint8_t http1_identify_method(const char* name, size_t length) noexcept nogil:
    if length == 3:
        if memcmp(name, b"GET", 3) == 0:
            return METHOD_GET
        return METHOD_PUT if memcmp(name, b"PUT", 3) == 0 else METHOD_OTHER
    if length == 4:
        if memcmp(name, b"POST", 4) == 0:
            return METHOD_POST
        return METHOD_HEAD if memcmp(name, b"HEAD", 4) == 0 else METHOD_OTHER
    if length == 5:
        if memcmp(name, b"PATCH", 5) == 0:
            return METHOD_PATCH
        return METHOD_TRACE if memcmp(name, b"TRACE", 5) == 0 else METHOD_OTHER
    if length == 6:
        return METHOD_DELETE if memcmp(name, b"DELETE", 6) == 0 else METHOD_OTHER
    if length == 7:
        if memcmp(name, b"OPTIONS", 7) == 0:
            return METHOD_OPTIONS
        return METHOD_CONNECT if memcmp(name, b"CONNECT", 7) == 0 else METHOD_OTHER
    return METHOD_OTHER


cdef int parse_request_line(head_t* head, const char* at, const char* end) noexcept nogil:
    # `end` is the CR, at which every class stops: behind it is the rest of the head, which may be looked at.
    cdef const char* head_end = head.text + head.text_len
    cdef bint is_get = memcmp(at, b"GET ", 4) == 0
    cdef const char* stop = at + 3 if is_get else ascii_skip(at, head_end, ASCII_TOKEN)
    cdef const char* target
    cdef int error
    if stop == at or stop - at > HTTP1_METHOD_MAX_BYTES:
        return HTTP1_BAD_METHOD
    if stop == end or stop[0] != 32:
        return HTTP1_BAD_START_LINE if stop == end else HTTP1_BAD_METHOD
    head.method_off = <uint32_t>(at - head.text)
    head.method_len = <uint32_t>(stop - at)
    head.method_id = METHOD_GET if is_get else http1_identify_method(at, head.method_len)
    target = stop + 1
    stop = ascii_skip(target, head_end, ASCII_TARGET)
    if stop == end or stop == target:
        return HTTP1_BAD_START_LINE if stop == end or stop[0] == 32 else HTTP1_BAD_TARGET
    if stop[0] != 32:
        return HTTP1_BAD_TARGET
    if stop + 1 == end or ascii_is_ows(stop[1]):
        return HTTP1_BAD_START_LINE
    if end - stop - 1 != VERSION_BYTES:
        return HTTP1_BAD_VERSION
    error = read_version(head, stop + 1)
    if error < 0:
        return error
    return HTTP1_OK if http1_parse_target(head, target, stop - target) else HTTP1_BAD_TARGET


cdef int finish_request(head_t* head, const http1_seen_t* seen) noexcept nogil:
    cdef int error = check_coding(head, seen)
    if error < 0:
        return error
    if not seen.flags & HTTP1_SEEN_HOST:
        if head.version_minor:
            return HTTP1_BAD_HOST
    elif seen.host.value_len and not http1_is_authority(head.text + seen.host.value_off, seen.host.value_len):
        return HTTP1_BAD_HOST
    elif not head.flags & HEAD_ABSOLUTE_FORM and head.method_id != METHOD_CONNECT:
        head.authority_off = seen.host.value_off
        head.authority_len = seen.host.value_len
    if seen.flags & (HTTP1_SEEN_CODING | HTTP1_SEEN_LENGTH):
        # Content has no meaning there (RFC 9110 9.3.6, 9.3.8), and parsers do not agree whether to read it.
        if head.method_id == METHOD_CONNECT or head.method_id == METHOD_TRACE:
            return HTTP1_BAD_FRAMING
        head.framing = FRAMING_CHUNKED if seen.flags & HTTP1_SEEN_CODING else FRAMING_LENGTH
    if seen.flags & HTTP1_SEEN_EXPECT_CONTINUE and head.version_minor:
        head.flags |= HEAD_EXPECT_CONTINUE
    set_connection_flags(head, seen)
    if head.framing == FRAMING_CHUNKED or head.content_length:
        # Parsers do not agree whether the body or the other protocol follows such a head: no upgrade with content.
        head.flags &= <uint8_t>~HEAD_UPGRADE
    return HTTP1_OK


cdef int read_request(head_t* head, const http1_limits_t* limits, http1_seen_t* seen) noexcept nogil:
    cdef const char* end = head.text + head.text_len
    cdef const char* line_end = ascii_find(head.text, end, 13)
    cdef int error
    if line_end[1] != 10:
        return HTTP1_BAD_LINE_END
    if line_end - head.text > <ssize_t>limits.start_line_max_bytes:
        return HTTP1_START_LINE_TOO_LONG
    error = parse_request_line(head, head.text, line_end)
    if error == HTTP1_OK:
        error = http1_parse_fields(head, line_end + 2, end, count_max(head, limits), seen)
    return error if error < 0 else finish_request(head, seen)


cdef int http1_parse_request(
    const char* data, size_t length, const http1_limits_t* limits, head_t* head
) noexcept nogil:
    cdef http1_seen_t seen
    cdef int error
    begin(data, length, head)
    memset(&seen, 0, sizeof(http1_seen_t))
    if not is_whole(data, length):
        return HTTP1_BAD_LINE_END
    error = read_request(head, limits, &seen)
    return error if error == HTTP1_OK else worst_of(error, data, length)


# --- responses

cdef int parse_status_line(head_t* head, const char* at, const char* end) noexcept nogil:
    cdef int error
    if end - at < VERSION_BYTES + 4 or at[VERSION_BYTES] != 32:
        return HTTP1_BAD_START_LINE
    error = read_version(head, at)
    if error < 0:
        return error
    at += VERSION_BYTES + 1
    if not (ascii_is(at[0], ASCII_DIGIT) and ascii_is(at[1], ASCII_DIGIT) and ascii_is(at[2], ASCII_DIGIT)):
        return HTTP1_BAD_STATUS
    head.status = <uint16_t>((at[0] - 48) * 100 + (at[1] - 48) * 10 + (at[2] - 48))
    if not 100 <= head.status <= 599:
        return HTTP1_BAD_STATUS
    at += 3
    if at < end:
        # Servers that have no reason to give often leave out the space as well.
        if at[0] != 32:
            return HTTP1_BAD_STATUS
        at += 1
    if ascii_skip_text(at, end) != end:
        return HTTP1_BAD_START_LINE
    head.reason_off = <uint32_t>(at - head.text)
    head.reason_len = <uint32_t>(end - at)
    return HTTP1_OK


cdef int finish_response(head_t* head, const http1_seen_t* seen, uint8_t method_id) noexcept nogil:
    cdef int error = check_coding(head, seen)
    if error < 0:
        return error
    set_connection_flags(head, seen)
    if head.status == 101 and not head.flags & HEAD_UPGRADE:
        # It must say to what it switches (RFC 9110 15.2.2).
        return HTTP1_BAD_STATUS
    if head.status < 200 or head.status == 204:
        # No content there, so nothing may announce any; a length of 0 does no harm and is common with 204.
        if seen.flags & HTTP1_SEEN_CODING or (seen.flags & HTTP1_SEEN_LENGTH and head.content_length):
            return HTTP1_BAD_FRAMING
    elif method_id == METHOD_HEAD or head.status == 304 or (method_id == METHOD_CONNECT and head.status < 300):
        head.framing = FRAMING_NONE
    elif seen.flags & HTTP1_SEEN_CODING:
        head.framing = FRAMING_CHUNKED
    elif seen.flags & HTTP1_SEEN_LENGTH:
        head.framing = FRAMING_LENGTH
    else:
        head.framing = FRAMING_CLOSE
        head.flags &= <uint8_t>~HEAD_KEEP_ALIVE
    return HTTP1_OK


cdef int read_response(
    head_t* head, const http1_limits_t* limits, uint8_t method_id, http1_seen_t* seen
) noexcept nogil:
    cdef const char* end = head.text + head.text_len
    cdef const char* line_end = ascii_find(head.text, end, 13)
    cdef int error
    if line_end[1] != 10:
        return HTTP1_BAD_LINE_END
    if line_end - head.text > <ssize_t>limits.start_line_max_bytes:
        return HTTP1_START_LINE_TOO_LONG
    error = parse_status_line(head, head.text, line_end)
    if error == HTTP1_OK:
        error = http1_parse_fields(head, line_end + 2, end, count_max(head, limits), seen)
    return error if error < 0 else finish_response(head, seen, method_id)


cdef int http1_parse_response(
    const char* data, size_t length, const http1_limits_t* limits, uint8_t method_id, head_t* head
) noexcept nogil:
    cdef http1_seen_t seen
    cdef int error
    begin(data, length, head)
    memset(&seen, 0, sizeof(http1_seen_t))
    if not is_whole(data, length):
        return HTTP1_BAD_LINE_END
    error = read_response(head, limits, method_id, &seen)
    return error if error == HTTP1_OK else worst_of(error, data, length)


# --- trailers

# Fields of unknown id that a trailer must not set: authentication, content, control (RFC 9110 6.5.1).
cdef const char* FORBIDDEN_TRAILERS = (
    b" age authorization cache-control content-encoding content-range date expires if-match if-modified-since"
    b" if-none-match if-range if-unmodified-since location pragma range retry-after set-cookie vary www-authenticate "
)


cdef bint is_forbidden_trailer(const char* name, size_t length) noexcept nogil:
    cdef const char* at = FORBIDDEN_TRAILERS + 1
    cdef const char* stop
    while at[0]:
        stop = at
        while stop[0] != 32:
            stop += 1
        if <size_t>(stop - at) == length and ascii_equal(name, at, length):
            return True
        at = stop + 1
    return False


cdef void http1_drop_forbidden_trailers(head_t* head) noexcept nogil:
    cdef header_t* header
    cdef uint16_t i
    for i in range(head.count):
        header = &head.headers[i]
        # Whatever has an id steers framing, routing or forwarding.
        if header.id != HEADER_OTHER or is_forbidden_trailer(head.text + header.name_off, header.name_len):
            header.flags |= HEADER_DROPPED


cdef int http1_parse_trailers(
    const char* data, size_t length, const http1_limits_t* limits, head_t* head
) noexcept nogil:
    cdef http1_seen_t seen
    cdef int error
    begin(data, length, head)
    memset(&seen, 0, sizeof(http1_seen_t))
    if length < 2 or memcmp(data + length - 2, b"\r\n", 2) or (length > 2 and not is_whole(data, length)):
        return HTTP1_BAD_TRAILER
    error = http1_parse_fields(head, data, data + length, count_max(head, limits), &seen)
    if error < 0:
        error = worst_of(error, data, length)
        return HTTP1_TOO_MANY_HEADERS if error == HTTP1_TOO_MANY_HEADERS else HTTP1_BAD_TRAILER
    http1_drop_forbidden_trailers(head)
    return HTTP1_OK


# --- names, and the face to Python

ERROR_NAMES = (
    "ok",
    "bad_line_end",
    "bad_start_line",
    "bad_method",
    "bad_target",
    "bad_version",
    "version_not_supported",
    "bad_header_name",
    "bad_header_value",
    "bad_host",
    "bad_content_length",
    "bad_transfer_encoding",
    "bad_framing",
    "bad_status",
    "bad_chunk",
    "bad_trailer",
    "start_line_too_long",
    "head_too_large",
    "too_many_headers",
)

cdef enum:
    ERROR_COUNT = 19
    FACE_FIELDS_MAX = 256

cdef list _error_names = [name.encode() for name in ERROR_NAMES]
cdef const char* ERROR_TEXT[ERROR_COUNT]
for _error in range(ERROR_COUNT):
    ERROR_TEXT[_error] = <const char*>_error_names[_error]


cdef const char* http1_error_name(int error) noexcept nogil:
    if -ERROR_COUNT < error <= 0:
        return ERROR_TEXT[-error]
    return b"unknown"


class ParseError(ValueError):
    def __init__(self, name):
        super().__init__(name)
        self.name = name


cdef http1_limits_t limits_of(start_line_max, head_max, header_max) except *:
    cdef http1_limits_t limits
    limits.start_line_max_bytes = start_line_max
    limits.head_max_bytes = head_max
    limits.header_max_count = header_max
    return limits


cdef Head take(int error, head_t* head):
    if error < 0:
        raise ParseError(ERROR_NAMES[-error])
    return head_to_python(head, 0, 0)


def find_head_end(bytes data not None, size_t scanned=0, *, start_line_max=8192, head_max=65536):
    cdef http1_limits_t limits = limits_of(start_line_max, head_max, FACE_FIELDS_MAX)
    cdef ssize_t end = http1_find_head_end(data, len(data), &scanned, &limits)
    if end < 0:
        raise ParseError(ERROR_NAMES[-end])
    return end, scanned


def skip_empty_lines(bytes data not None):
    return http1_skip_empty_lines(data, len(data))


def parse_request(bytes data not None, *, start_line_max=8192, head_max=65536, header_max=100):
    cdef http1_limits_t limits = limits_of(start_line_max, head_max, header_max)
    cdef header_t headers[FACE_FIELDS_MAX]
    cdef head_t head
    head.headers = headers
    head.capacity = FACE_FIELDS_MAX
    return take(http1_parse_request(data, len(data), &limits, &head), &head)


def parse_response(bytes data not None, str method="GET", *, start_line_max=8192, head_max=65536, header_max=100):
    cdef http1_limits_t limits = limits_of(start_line_max, head_max, header_max)
    cdef header_t headers[FACE_FIELDS_MAX]
    cdef head_t head
    cdef bytes name = method.encode()
    head.headers = headers
    head.capacity = FACE_FIELDS_MAX
    return take(http1_parse_response(data, len(data), &limits, http1_identify_method(name, len(name)), &head), &head)


def parse_trailers(bytes data not None, *, header_max=100):
    cdef http1_limits_t limits = limits_of(8192, 65536, header_max)
    cdef header_t headers[FACE_FIELDS_MAX]
    cdef head_t head
    head.headers = headers
    head.capacity = FACE_FIELDS_MAX
    return take(http1_parse_trailers(data, len(data), &limits, &head), &head)


def rehearse_request(bytes data not None, unsigned int times):
    cdef http1_limits_t limits = limits_of(8192, 65536, FACE_FIELDS_MAX)
    cdef header_t headers[FACE_FIELDS_MAX]
    cdef head_t head
    cdef const char* text = data
    cdef size_t length = len(data)
    cdef size_t scanned
    cdef unsigned int _i
    cdef int error = 0
    head.headers = headers
    head.capacity = FACE_FIELDS_MAX
    with nogil:
        for _i in range(times):
            scanned = 0
            http1_find_head_end(text, length, &scanned, &limits)
            error = http1_parse_request(text, length, &limits, &head)
    return take(error, &head)
