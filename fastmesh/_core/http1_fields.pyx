"""The field lines of a head, in one pass over their bytes."""

from libc.stdint cimport INT64_MAX

from fastmesh._core.ascii cimport (
    ASCII_COMMON,
    ASCII_DIGIT,
    ASCII_TOKEN,
    ascii_equal,
    ascii_is,
    ascii_next_element,
    ascii_skip,
    ascii_skip_common_block,
    ascii_skip_ows,
    ascii_skip_text,
    ascii_trim_ows,
)
from fastmesh._core.headers cimport (
    HEADER_CONNECTION,
    HEADER_CONTENT_LENGTH,
    HEADER_EXPECT,
    HEADER_HOST,
    HEADER_IS_LINE,
    HEADER_OTHER,
    HEADER_PLAIN_NAME,
    HEADER_TRANSFER_ENCODING,
    HEADER_UPGRADE,
    header_identify,
)
from fastmesh._core.http1_parser cimport (
    HTTP1_BAD_CONTENT_LENGTH,
    HTTP1_BAD_HEADER_NAME,
    HTTP1_BAD_HEADER_VALUE,
    HTTP1_BAD_HOST,
    HTTP1_BAD_LINE_END,
    HTTP1_BAD_TRANSFER_ENCODING,
    HTTP1_CONNECTION_OPTIONS_MAX,
    HTTP1_OK,
    HTTP1_TOO_MANY_HEADERS,
)

cdef enum:
    LENGTH_DIGITS_MAX = 19      # of INT64_MAX


cdef bint http1_has_bad_line_end(const char* data, size_t length) noexcept nogil:
    cdef char before = 0
    cdef size_t i
    for i in range(length):
        if data[i] == 0 or (data[i] == 10) != (before == 13):
            return True
        before = data[i]
    return False


cdef int http1_read_content_length(head_t* head, const char* at, const char* end) noexcept nogil:
    cdef uint64_t value = 0
    if at == end or end - at > LENGTH_DIGITS_MAX:
        return HTTP1_BAD_CONTENT_LENGTH
    while at < end:
        if not ascii_is(at[0], ASCII_DIGIT):
            return HTTP1_BAD_CONTENT_LENGTH
        value = value * 10 + <uint64_t>(at[0] - 48)
        at += 1
    if value > <uint64_t>INT64_MAX:
        return HTTP1_BAD_CONTENT_LENGTH
    head.content_length = value
    return HTTP1_OK


cdef int read_connection(http1_seen_t* seen, const char* at, const char* end) noexcept nogil:
    cdef const char* option
    cdef size_t length = 0
    if end - at == 10 and seen.connection_options == 0 and ascii_equal(at, b"keep-alive", 10):
        seen.connection_options = 1     # what servers mostly say
        seen.flags |= HTTP1_SEEN_KEEP_ALIVE
        return HTTP1_OK
    while True:
        option = ascii_next_element(&at, end, &length)
        if option == NULL:
            return HTTP1_OK
        seen.connection_options += 1
        if seen.connection_options > HTTP1_CONNECTION_OPTIONS_MAX:
            return HTTP1_BAD_HEADER_VALUE
        if length == 5 and ascii_equal(option, b"close", 5):
            seen.flags |= HTTP1_SEEN_CLOSE
        elif length == 10 and ascii_equal(option, b"keep-alive", 10):
            seen.flags |= HTTP1_SEEN_KEEP_ALIVE
        elif length == 7 and ascii_equal(option, b"upgrade", 7):
            seen.flags |= HTTP1_SEEN_UPGRADE_OPTION


cdef void read_upgrade(http1_seen_t* seen, const char* at, const char* end) noexcept nogil:
    # An upgrade to cleartext HTTP/2 would carry requests past routes and policies: it is never passed on.
    cdef const char* protocol
    cdef size_t length = 0
    while True:
        protocol = ascii_next_element(&at, end, &length)
        if protocol == NULL:
            return
        seen.flags |= HTTP1_SEEN_UPGRADE
        if length >= 2 and ascii_equal(protocol, b"h2", 2):
            seen.flags |= HTTP1_SEEN_CLEARTEXT_HTTP2


cdef int read_known(head_t* head, http1_seen_t* seen, const header_t* header) noexcept nogil:
    cdef const char* at = head.text + header.value_off
    cdef const char* end = at + header.value_len
    if header.id == HEADER_HOST:
        if seen.flags & HTTP1_SEEN_HOST:
            return HTTP1_BAD_HOST
        seen.flags |= HTTP1_SEEN_HOST
        seen.host = header[0]
    elif header.id == HEADER_CONTENT_LENGTH:
        if seen.flags & HTTP1_SEEN_LENGTH:
            return HTTP1_BAD_CONTENT_LENGTH
        seen.flags |= HTTP1_SEEN_LENGTH
        return http1_read_content_length(head, at, end)
    elif header.id == HEADER_TRANSFER_ENCODING:
        if seen.flags & HTTP1_SEEN_CODING or header.value_len != 7 or not ascii_equal(at, b"chunked", 7):
            return HTTP1_BAD_TRANSFER_ENCODING
        seen.flags |= HTTP1_SEEN_CODING
    elif header.id == HEADER_CONNECTION:
        return read_connection(seen, at, end)
    elif header.id == HEADER_UPGRADE:
        read_upgrade(seen, at, end)
    elif header.id == HEADER_EXPECT:
        if header.value_len == 12 and ascii_equal(at, b"100-continue", 12):
            seen.flags |= HTTP1_SEEN_EXPECT_CONTINUE
    return HTTP1_OK


# The value's first byte: most often behind the colon and one space.
cdef inline const char* value_start(const char* colon, const char* end) noexcept nogil:
    if colon[1] == 32 and <uint8_t>colon[2] > 32:
        return colon + 2
    return ascii_skip_ows(colon + 1, end)


cdef int http1_parse_fields(
    head_t* head, const char* at, const char* end, uint16_t max_count, http1_seen_t* seen
) noexcept nogil:
    # `end` is behind the empty line. No byte goes unseen: a name ends at its colon, a value at CR LF.
    cdef const char* text = head.text
    cdef header_t* header = head.headers + head.count
    cdef const header_t* last = head.headers + max_count
    cdef const char* colon
    cdef const char* value
    cdef const char* stop
    cdef uint8_t known
    cdef uint8_t header_id
    cdef int error
    while at[0] != 13:
        if header >= last:
            return HTTP1_TOO_MANY_HEADERS
        known = HEADER_PLAIN_NAME
        colon = ascii_skip_common_block(at, end)
        if colon[0] != 58:
            colon = ascii_skip(colon, end, ASCII_COMMON)
            if colon[0] != 58:
                known = 0
                colon = ascii_skip(colon, end, ASCII_TOKEN)
                if colon[0] != 58:
                    return HTTP1_BAD_HEADER_NAME
        if colon == at or colon - at > 65535:
            return HTTP1_BAD_HEADER_NAME
        value = value_start(colon, end)
        stop = ascii_skip_text(value, end)
        if stop[0] != 13:
            return HTTP1_BAD_HEADER_VALUE
        if stop[1] != 10:
            return HTTP1_BAD_LINE_END
        header.name_off = <uint32_t>(at - text)
        header.name_len = <uint16_t>(colon - at)
        header.value_off = <uint32_t>(value - text)
        header.value_len = <uint32_t>(ascii_trim_ows(value, stop) - value)
        if value == colon + 2 and colon[1] == 32 and value + header.value_len == stop:
            known |= HEADER_IS_LINE
        header_id = header_identify(at, colon - at)
        header.id = header_id
        header.flags = known
        head.count += 1
        if header_id != HEADER_OTHER:
            error = read_known(head, seen, header)
            if error < 0:
                return error
        header += 1
        at = stop + 2
    return HTTP1_OK if at + 2 == end else HTTP1_BAD_LINE_END


def has_bad_line_end(bytes data not None):
    return http1_has_bad_line_end(data, len(data))
