"""The field lines of a head: one pass over its bytes for flaws, one over its lines."""

from libc.stdint cimport INT64_MAX
from libc.string cimport memchr

from fastmesh._core.ascii cimport (
    ASCII_DIGIT,
    ASCII_TOKEN,
    ascii_equal,
    ascii_is,
    ascii_next_element,
    ascii_skip_ows,
    ascii_trim_ows,
)
from fastmesh._core.headers cimport (
    HEADER_CONNECTION,
    HEADER_CONTENT_LENGTH,
    HEADER_EXPECT,
    HEADER_HOST,
    HEADER_OTHER,
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


cdef extern from *:
    """
    /* Bytes [1, length), 16 at a time: 1 where a CR has no LF or an LF no CR, 2 where there is a control character
       other than HTAB, CR and LF. Where there is no SSE2, the loop is left to the compiler. */
    #include <stdint.h>
    #include <stddef.h>
    static inline uint8_t flaws_of(const uint8_t* text, size_t from, size_t to) {
        uint8_t line_end = 0, control = 0;
        for (size_t i = from; i < to; i++) {
            line_end |= (text[i - 1] == 13) ^ (text[i] == 10);
            control |= ((text[i] < 32) & (text[i] != 9) & (text[i] != 10) & (text[i] != 13)) | (text[i] == 127);
        }
        return line_end | control << 1;
    }
    #ifdef __SSE2__
    #include <emmintrin.h>
    static inline uint8_t find_flaws(const uint8_t* text, size_t length) {
        const __m128i tab = _mm_set1_epi8(9), lf = _mm_set1_epi8(10), cr = _mm_set1_epi8(13);
        const __m128i last = _mm_set1_epi8(31), del = _mm_set1_epi8(127);
        __m128i line_end = _mm_setzero_si128(), control = _mm_setzero_si128();
        if (length < 17)
            return flaws_of(text, 1, length);
        for (size_t i = 1;; i += 16) {
            if (i > length - 16)
                i = length - 16;            /* the last block may overlap the one before */
            __m128i now = _mm_loadu_si128((const __m128i*)(text + i));
            __m128i before = _mm_loadu_si128((const __m128i*)(text + i - 1));
            __m128i is_lf = _mm_cmpeq_epi8(now, lf);
            __m128i is_white = _mm_or_si128(_mm_or_si128(is_lf, _mm_cmpeq_epi8(now, cr)), _mm_cmpeq_epi8(now, tab));
            __m128i is_low = _mm_cmpeq_epi8(_mm_min_epu8(now, last), now);
            line_end = _mm_or_si128(line_end, _mm_xor_si128(_mm_cmpeq_epi8(before, cr), is_lf));
            control = _mm_or_si128(control, _mm_andnot_si128(is_white, is_low));
            control = _mm_or_si128(control, _mm_cmpeq_epi8(now, del));
            if (i == length - 16)
                break;
        }
        return (_mm_movemask_epi8(line_end) != 0) | (_mm_movemask_epi8(control) != 0) << 1;
    }
    #else
    #define find_flaws(text, length) flaws_of(text, 1, length)
    #endif
    """
    uint8_t find_flaws_from_second "find_flaws" (const uint8_t* text, size_t length) noexcept nogil


cdef uint8_t http1_find_flaws(const char* data, size_t length) noexcept nogil:
    # One pass of vector code over a whole head, so that the fields need no look at each byte.
    cdef uint8_t flaws = find_flaws_from_second(<const uint8_t*>data, length)
    if data[0] == 10 or data[0] == 0:
        flaws |= HTTP1_FLAW_LINE_END
    if flaws & HTTP1_FLAW_CONTROL and memchr(data, 0, length) != NULL:
        flaws |= HTTP1_FLAW_LINE_END
    return flaws


cdef bint http1_has_control(const char* at, const char* end) noexcept nogil:
    while at < end:
        if (<uint8_t>at[0] < 32 and at[0] != 9) or at[0] == 127:
            return True
        at += 1
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


cdef int http1_parse_fields(
    head_t* head, const char* at, const char* end, uint16_t max_count, uint8_t flaws, http1_seen_t* seen
) noexcept nogil:
    # `end` is behind the empty line, and every CR in between has its LF: http1_find_flaws saw to it.
    cdef header_t* header
    cdef const char* stop
    cdef int error
    while at[0] != 13:
        if head.count >= max_count:
            return HTTP1_TOO_MANY_HEADERS
        header = &head.headers[head.count]
        stop = at
        while ascii_is(stop[0], ASCII_TOKEN):
            stop += 1
        if stop == at or stop[0] != 58 or stop - at > 65535:
            return HTTP1_BAD_HEADER_NAME
        header.name_off = <uint32_t>(at - head.text)
        header.name_len = <uint16_t>(stop - at)
        header.id = header_identify(at, header.name_len)
        header.flags = 0
        at = ascii_skip_ows(stop + 1, end)
        stop = <const char*>memchr(at, 13, end - at)
        if flaws & HTTP1_FLAW_CONTROL and http1_has_control(at, stop):
            return HTTP1_BAD_HEADER_VALUE
        header.value_off = <uint32_t>(at - head.text)
        header.value_len = <uint32_t>(ascii_trim_ows(at, stop) - at)
        head.count += 1
        if header.id != HEADER_OTHER:
            error = read_known(head, seen, header)
            if error < 0:
                return error
        at = stop + 2
    return HTTP1_OK if at + 2 == end else HTTP1_BAD_LINE_END


def find_flaws(bytes data not None):
    cdef uint8_t flaws = http1_find_flaws(data, len(data))
    return (flaws & HTTP1_FLAW_LINE_END) != 0, (flaws & HTTP1_FLAW_CONTROL) != 0
