"""Header blocks to lines of HTTP/1: each field is decoded to where it stays, and checked there."""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memmove

from fastmesh._core.ascii cimport ASCII_TOKEN, ascii_equal, ascii_is, ascii_is_ows, ascii_lower
from fastmesh._core.headers cimport (
    HEADER_CONNECTION,
    HEADER_CONTENT_LENGTH,
    HEADER_COOKIE,
    HEADER_EXPECT,
    HEADER_HOST,
    HEADER_KEEP_ALIVE,
    HEADER_OTHER,
    HEADER_PROXY_CONNECTION,
    HEADER_TE,
    HEADER_TRANSFER_ENCODING,
    HEADER_UPGRADE,
    header_identify,
    header_t,
)
from fastmesh._core.hpack cimport (
    HPACK_TOO_LARGE,
    hpack_field_t,
    hpack_read_field,
    hpack_read_rest,
    hpack_reader_init,
    hpack_reader_t,
)
from fastmesh._core.hpack_table cimport (
    HPACK_ENTRY_EXTRA_BYTES,
    HPACK_STATIC_COUNT,
    hpack_static_entry,
    hpack_static_t,
)
from fastmesh._core.http1_fields cimport http1_read_content_length
from fastmesh._core.http2_head cimport HTTP2_HEAD_MALFORMED, HTTP2_HEAD_TOO_LARGE

cdef enum:
    COLON = 58
    NO_PSEUDO = HTTP2_PSEUDO_COUNT
    COOKIE_LINE_BYTES = 8       # "cookie: "

cdef const char* PSEUDO_NAME[HTTP2_PSEUDO_COUNT]
PSEUDO_NAME[HTTP2_PSEUDO_METHOD] = b":method"
PSEUDO_NAME[HTTP2_PSEUDO_SCHEME] = b":scheme"
PSEUDO_NAME[HTTP2_PSEUDO_AUTHORITY] = b":authority"
PSEUDO_NAME[HTTP2_PSEUDO_PATH] = b":path"
PSEUDO_NAME[HTTP2_PSEUDO_PROTOCOL] = b":protocol"
PSEUDO_NAME[HTTP2_PSEUDO_STATUS] = b":status"
cdef uint8_t[HTTP2_PSEUDO_COUNT] PSEUDO_LENGTH = [7, 7, 10, 5, 9, 7]

# Of each name of the static table.
cdef uint8_t STATIC_ID[HPACK_STATIC_COUNT + 1]
cdef uint8_t STATIC_PSEUDO[HPACK_STATIC_COUNT + 1]


cdef inline int refuse(http2_seen_t* seen, const char* detail) noexcept nogil:
    seen.detail = detail
    return HTTP2_HEAD_MALFORMED


# --- bytes

cdef extern from *:
    """
    /* How many control characters other than HTAB there are, 16 bytes at a time where there is SSE2. Not left to the
       compiler: gcc 12 at -O3 miscounts such a loop over bytes. */
    #include <stdint.h>
    #include <stddef.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    static inline size_t count_controls(const uint8_t* text, size_t length) {
        size_t found = 0, i = 0;
    #ifdef __SSE2__
        const __m128i tab = _mm_set1_epi8(9), last = _mm_set1_epi8(31), del = _mm_set1_epi8(127);
        const __m128i zero = _mm_setzero_si128();
        __m128i sums = zero;
        for (; length - i >= 16; i += 16) {
            __m128i now = _mm_loadu_si128((const __m128i*)(text + i));
            __m128i is_low = _mm_cmpeq_epi8(_mm_min_epu8(now, last), now);
            __m128i is_control = _mm_andnot_si128(_mm_cmpeq_epi8(now, tab), is_low);
            is_control = _mm_or_si128(is_control, _mm_cmpeq_epi8(now, del));
            sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_sub_epi8(zero, is_control), zero));
        }
        found = (size_t)_mm_cvtsi128_si64(_mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums)));
    #endif
        for (; i < length; i++)
            if ((text[i] < 32 && text[i] != 9) || text[i] == 127)
                found++;
        return found;
    }
    """
    size_t count_controls(const uint8_t* text, size_t length) noexcept nogil


cdef inline bint is_lower_name(const char* at, size_t length) noexcept nogil:
    cdef const char* end = at + length
    while at < end and ascii_is(at[0], ASCII_TOKEN) and not 65 <= at[0] <= 90:
        at += 1
    return at == end and length > 0


cdef bint is_same_authority(const char* one, const char* other, size_t length) noexcept nogil:
    cdef size_t i
    for i in range(length):
        if ascii_lower(one[i]) != ascii_lower(other[i]):
            return False
    return True


# --- lines

cdef int add_line(
    head_t* head, const http2_head_limits_t* limits, uint8_t header_id, uint32_t name_off, const hpack_field_t* field
) noexcept nogil:
    # Of a line at the end of the text, whose name may begin further in than the line.
    cdef header_t* header
    cdef uint32_t value_off = head.text_len + field.name_len + 2
    if head.count >= head.capacity or head.count >= limits.header_max_count or value_off - name_off > 65535:
        return HTTP2_HEAD_TOO_LARGE
    header = &head.headers[head.count]
    header.name_off = name_off
    header.name_len = <uint16_t>(value_off - 2 - name_off)
    header.value_off = value_off
    header.value_len = field.value_len
    header.id = header_id
    header.flags = 0
    head.count += 1
    return 0


cdef void reverse(char* at, char* end) noexcept nogil:
    cdef char byte
    while end - at > 1:
        end -= 1
        byte = at[0]
        at[0] = end[0]
        end[0] = byte
        at += 1


cdef void join_cookie(head_t* head, header_t* cookie, const hpack_field_t* field) noexcept nogil:
    # The line at the end of the text becomes "; value", and changes places with what stands between it and the first
    # cookie's value (RFC 9113 8.2.3). Without room this is slow, but works. Empty crumbs leave no trace.
    cdef char* line = head.text + head.text_len
    cdef uint32_t joint = cookie.value_off + cookie.value_len
    cdef uint32_t between = 2 if cookie.value_len else 0
    cdef uint32_t length = between + field.value_len
    cdef uint16_t i
    if field.value_len == 0:
        return
    memcpy(line, b"; ", between)
    memmove(line + between, line + COOKIE_LINE_BYTES, field.value_len)
    if line - (head.text + joint) == 2:
        memmove(head.text + joint, line, length)
        memcpy(head.text + joint + length, b"\r\n", 2)
    elif head.text_len + <size_t>length * 2 <= head.text_cap:
        # By way of the room behind it: a stranger picks how often this is done, and how far.
        memcpy(line + length, line, length)
        memmove(head.text + joint + length, head.text + joint, line - (head.text + joint))
        memcpy(head.text + joint, line + length, length)
    else:
        reverse(head.text + joint, line)
        reverse(line, line + length)
        reverse(head.text + joint, line + length)
    cookie.value_len += length
    head.text_len += length
    for i in range(head.count):
        if head.headers[i].name_off > joint:
            head.headers[i].name_off += length
            head.headers[i].value_off += length


# --- pseudo-header fields

cdef uint8_t identify_pseudo(const char* name, uint32_t length) noexcept nogil:
    cdef uint8_t i
    for i in range(HTTP2_PSEUDO_COUNT):
        if PSEUDO_LENGTH[i] == length and memcmp(name, PSEUDO_NAME[i], length) == 0:
            return i
    return NO_PSEUDO


cdef void make_static_names() noexcept nogil:
    cdef const hpack_static_t* entry
    cdef uint32_t index
    STATIC_ID[0] = HEADER_OTHER
    STATIC_PSEUDO[0] = NO_PSEUDO
    for index in range(1, HPACK_STATIC_COUNT + 1):
        entry = hpack_static_entry(index)
        STATIC_ID[index] = header_identify(entry.name, entry.name_len)
        STATIC_PSEUDO[index] = identify_pseudo(entry.name, entry.name_len)


make_static_names()


cdef int take_pseudo(
    head_t* head, const http2_head_limits_t* limits, http2_seen_t* seen, const hpack_field_t* field
) noexcept nogil:
    cdef char* line = head.text + head.text_len
    cdef uint8_t pseudo = STATIC_PSEUDO[field.static_index]
    cdef http2_value_t value
    cdef int error = 0
    if field.static_index == 0:
        pseudo = identify_pseudo(line, field.name_len)
    if seen.flags & HTTP2_SEEN_FIELD:
        return refuse(seen, b"pseudo-header field behind a field")
    if pseudo == NO_PSEUDO or not seen.allowed >> pseudo & 1:
        return refuse(seen, b"unknown pseudo-header field")
    if seen.pseudos >> pseudo & 1:
        return refuse(seen, b"pseudo-header field twice")
    value.offset = head.text_len + field.name_len + 2
    value.length = field.value_len
    seen.pseudos |= <uint8_t>(1 << pseudo)
    seen.pseudo[pseudo] = value
    # The head shows these two as the lines that HTTP/1 has for them: the last letters of their names are overwritten.
    if pseudo == HTTP2_PSEUDO_AUTHORITY:
        memcpy(line + 6, b"host", 4)
        seen.host = head.count + 1
        error = add_line(head, limits, HEADER_HOST, head.text_len + 6, field)
    elif pseudo == HTTP2_PSEUDO_PROTOCOL:
        memcpy(line + 2, b"upgrade", 7)
        error = add_line(head, limits, HEADER_UPGRADE, head.text_len + 2, field)
    head.text_len = value.offset + value.length + 2
    return error


# --- fields that mean something to us

# Each take_* says whether the line stays: 1, 0, or an error.
cdef int take_host(head_t* head, http2_seen_t* seen, http2_value_t value) noexcept nogil:
    cdef const header_t* authority
    if seen.flags & HTTP2_SEEN_HOST:
        return refuse(seen, b"host twice")
    seen.flags |= HTTP2_SEEN_HOST
    if not seen.pseudos >> HTTP2_PSEUDO_AUTHORITY & 1:
        seen.host = head.count + 1
        return 1
    authority = &head.headers[seen.host - 1]
    if value.length != authority.value_len:
        return refuse(seen, b"host is not :authority")
    if not is_same_authority(head.text + value.offset, head.text + authority.value_off, value.length):
        return refuse(seen, b"host is not :authority")
    return 0


cdef int take_length(head_t* head, http2_seen_t* seen, http2_value_t value) noexcept nogil:
    cdef uint64_t before = head.content_length
    cdef const char* at = head.text + value.offset
    if http1_read_content_length(head, at, at + value.length) < 0:
        return refuse(seen, b"bad content-length")
    if not seen.flags & HTTP2_SEEN_LENGTH:
        seen.flags |= HTTP2_SEEN_LENGTH
        return 1
    return 0 if head.content_length == before else refuse(seen, b"two lengths of content")


cdef int take_known(
    head_t* head, http2_seen_t* seen, uint8_t header_id, const hpack_field_t* field
) noexcept nogil:
    cdef http2_value_t value
    cdef const char* at
    value.offset = head.text_len + field.name_len + 2
    value.length = field.value_len
    at = head.text + value.offset
    if header_id == HEADER_HOST:
        return take_host(head, seen, value)
    if header_id == HEADER_CONTENT_LENGTH:
        return take_length(head, seen, value)
    if header_id == HEADER_COOKIE:
        if seen.cookie:
            join_cookie(head, &head.headers[seen.cookie - 1], field)
            return 0
        seen.cookie = head.count + 1
    elif header_id == HEADER_EXPECT:
        if value.length == 12 and ascii_equal(at, b"100-continue", 12):
            seen.flags |= HTTP2_SEEN_EXPECT_CONTINUE
    elif header_id == HEADER_TE:
        if value.length != 8 or not ascii_equal(at, b"trailers", 8):
            return refuse(seen, b"te other than trailers")
    elif (
        header_id == HEADER_CONNECTION
        or header_id == HEADER_TRANSFER_ENCODING
        or header_id == HEADER_UPGRADE
        or header_id == HEADER_KEEP_ALIVE
        or header_id == HEADER_PROXY_CONNECTION
    ):
        return refuse(seen, b"field of a connection")
    return 1


cdef int take_field(
    head_t* head, const http2_head_limits_t* limits, http2_seen_t* seen, const hpack_field_t* field
) noexcept nogil:
    cdef const char* line = head.text + head.text_len
    cdef const char* value = line + field.name_len + 2
    cdef uint8_t header_id = STATIC_ID[field.static_index]
    cdef int stays = 1
    if field.value_len and (ascii_is_ows(value[0]) or ascii_is_ows(value[field.value_len - 1])):
        return refuse(seen, b"white space around a value")
    if field.name_len and line[0] == COLON:
        return take_pseudo(head, limits, seen, field)
    seen.flags |= HTTP2_SEEN_FIELD
    if field.static_index == 0:
        if not is_lower_name(line, field.name_len):
            return refuse(seen, b"bad field name")
        header_id = header_identify(line, field.name_len)
    if header_id != HEADER_OTHER:
        stays = take_known(head, seen, header_id, field)
    if stays > 0:
        stays = add_line(head, limits, header_id, head.text_len, field)
        if stays == 0:
            head.text_len += field.name_len + field.value_len + 4
    return stays


cdef int read_lines(
    hpack_reader_t* reader, const http2_head_limits_t* limits, head_t* head, http2_seen_t* seen
) noexcept nogil:
    cdef hpack_field_t field
    cdef size_t decoded_bytes = 0
    cdef int result
    while True:
        result = hpack_read_field(reader, head.text + head.text_len, head.text_cap - head.text_len, &field)
        if result <= 0:
            return HTTP2_HEAD_TOO_LARGE if result == HPACK_TOO_LARGE else result
        decoded_bytes += <size_t>field.name_len + field.value_len + HPACK_ENTRY_EXTRA_BYTES
        if decoded_bytes > limits.head_max_bytes:
            return HTTP2_HEAD_TOO_LARGE
        result = take_field(head, limits, seen, &field)
        if result < 0:
            return result


cdef bint has_controls(const head_t* head, uint32_t start, const http2_seen_t* seen) noexcept nogil:
    # In one pass: the ends of the lines are two each, and no name or value may hold another.
    cdef size_t lines = head.count
    cdef uint8_t pseudos = seen.pseudos
    # The lines of these two are counted with head.headers.
    pseudos &= <uint8_t>~(1 << HTTP2_PSEUDO_AUTHORITY | 1 << HTTP2_PSEUDO_PROTOCOL)
    while pseudos:
        lines += pseudos & 1
        pseudos >>= 1
    return count_controls(<const uint8_t*>head.text + start, head.text_len - start) != 2 * lines


cdef int http2_read_fields(
    hpack_decoder_t* decoder, const char* block, size_t length, const http2_head_limits_t* limits,
    head_t* head, http2_seen_t* seen,
) noexcept nogil:
    cdef hpack_reader_t reader
    cdef uint32_t start = head.text_len
    cdef int result, rest
    hpack_reader_init(&reader, decoder, block, length)
    result = read_lines(&reader, limits, head, seen)
    if result == HTTP2_HEAD_MALFORMED or result == HTTP2_HEAD_TOO_LARGE:
        rest = hpack_read_rest(&reader)
        return rest if rest < 0 else result
    if result == 0 and has_controls(head, start, seen):
        return refuse(seen, b"control character in a field")
    return result
