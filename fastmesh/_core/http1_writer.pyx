"""Heads to bytes: runs of fields that stand as lines in the text are copied at once."""

from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc

from fastmesh._core.headers cimport (
    HEAD_ASTERISK_FORM,
    HEADER_DROPPED,
    HEADER_HOST,
    HEADER_IS_LINE,
    Head,
    copy_short,
    header_t,
)

cdef enum:
    REQUEST_LINE_EXTRA_BYTES = 13   # two spaces, a slash, HTTP/1.1, CR LF
    STATUS_LINE_EXTRA_BYTES = 15    # HTTP/1.1, two spaces, three digits, CR LF
    HOST_EXTRA_BYTES = 8            # "host: ", CR LF
    FIELD_EXTRA_BYTES = 4           # ": ", CR LF
    NONE_LEFT_OUT = 255             # no field has this id


cdef inline char* put(char* out, const char* piece, size_t length) noexcept nogil:
    copy_short(out, piece, length)
    return out + length


cdef size_t fields_bound(const head_t* head) noexcept nogil:
    cdef const header_t* header
    cdef size_t bound = 2
    cdef uint16_t i
    for i in range(head.count):
        header = &head.headers[i]
        if not header.flags & HEADER_DROPPED:
            bound += <size_t>header.name_len + header.value_len + FIELD_EXTRA_BYTES
    return bound


cdef size_t http1_head_bound(const head_t* head) noexcept nogil:
    cdef size_t request = <size_t>head.method_len + head.target_len + REQUEST_LINE_EXTRA_BYTES
    cdef size_t response = <size_t>head.reason_len + STATUS_LINE_EXTRA_BYTES
    return request + response + HOST_EXTRA_BYTES + head.authority_len + fields_bound(head)


# Behind the line that the field stands in as it would be written, or 0 when its text has another form.
cdef inline uint32_t line_end(const head_t* head, const header_t* header) noexcept nogil:
    cdef uint32_t colon = header.name_off + header.name_len
    cdef uint32_t end = header.value_off + header.value_len
    cdef const char* text = head.text
    if header.flags & HEADER_IS_LINE:
        return end + 2
    if header.value_off != colon + 2 or head.text_len < end + 2:
        return 0
    if text[colon] != 58 or text[colon + 1] != 32 or text[end] != 13 or text[end + 1] != 10:
        return 0
    return end + 2


cdef char* put_field(const head_t* head, const header_t* header, char* out) noexcept nogil:
    out = put(out, head.text + header.name_off, header.name_len)
    out = put(out, b": ", 2)
    out = put(out, head.text + header.value_off, header.value_len)
    return put(out, b"\r\n", 2)


# All fields but the dropped and those of `left_out`, then the empty line.
cdef char* put_fields(const head_t* head, uint8_t left_out, char* out) noexcept nogil:
    cdef const header_t* header = head.headers
    cdef const header_t* last = header + head.count
    cdef const char* text = head.text
    cdef uint32_t run_start = 0
    cdef uint32_t run_end = 0
    cdef uint32_t end
    while header < last:
        if not (header.flags & HEADER_DROPPED or header.id == left_out):
            end = line_end(head, header)
            if end == 0 or header.name_off != run_end:
                if run_end > run_start:
                    out = put(out, text + run_start, run_end - run_start)
                run_start = header.name_off
            if end == 0:
                out = put_field(head, header, out)
                run_start = 0
            run_end = end
        header += 1
    if run_end > run_start:
        out = put(out, text + run_start, run_end - run_start)
    return put(out, b"\r\n", 2)


cdef size_t http1_write_request(const head_t* head, char* out) noexcept nogil:
    cdef char* at = put(out, head.text + head.method_off, head.method_len)
    cdef const char* target = head.text + head.target_off
    at = put(at, b" ", 1)
    if head.flags & HEAD_ASTERISK_FORM:
        at = put(at, b"*", 1)
    else:
        if head.target_len == 0 or target[0] == 63:
            # An absolute URI without a path: sent on, its path is "/" (RFC 9112 3.2.1).
            at = put(at, b"/", 1)
        at = put(at, target, head.target_len)
    at = put(at, b" HTTP/1.1\r\nhost: ", 17)
    at = put(at, head.text + head.authority_off, head.authority_len)
    at = put(at, b"\r\n", 2)
    return put_fields(head, HEADER_HOST, at) - out


cdef size_t http1_write_response(const head_t* head, char* out) noexcept nogil:
    cdef char* at = put(out, b"HTTP/1.1 ", 9)
    at[0] = <char>(48 + head.status // 100)
    at[1] = <char>(48 + head.status // 10 % 10)
    at[2] = <char>(48 + head.status % 10)
    at[3] = 32
    at = put(at + 4, head.text + head.reason_off, head.reason_len)
    at = put(at, b"\r\n", 2)
    return put_fields(head, NONE_LEFT_OUT, at) - out


cdef size_t http1_write_chunk_head(uint64_t size, char* out) noexcept nogil:
    cdef uint64_t rest = size
    cdef size_t digits = 1
    cdef size_t i
    while rest > 15:
        rest >>= 4
        digits += 1
    for i in range(digits):
        out[digits - 1 - i] = b"0123456789abcdef"[size & 15]
        size >>= 4
    out[digits] = 13
    out[digits + 1] = 10
    return digits + 2


cdef size_t http1_last_chunk_bound(const head_t* trailers) noexcept nogil:
    return 3 + (fields_bound(trailers) if trailers != NULL else 2)


cdef size_t http1_write_last_chunk(const head_t* trailers, char* out) noexcept nogil:
    cdef char* at = put(out, b"0\r\n", 3)
    if trailers == NULL:
        return put(at, b"\r\n", 2) - out
    return put_fields(trailers, NONE_LEFT_OUT, at) - out


ctypedef size_t (*write_t)(const head_t*, char*) noexcept nogil


cdef bytes write_with(write_t write, const head_t* head, size_t bound):
    cdef char* out = <char*>malloc(bound)
    if out == NULL:
        raise MemoryError
    try:
        return out[: write(head, out)]
    finally:
        free(out)


def write_request(Head head not None):
    return write_with(http1_write_request, &head.head, http1_head_bound(&head.head))


def write_response(Head head not None):
    return write_with(http1_write_response, &head.head, http1_head_bound(&head.head))


def write_chunk_head(uint64_t size):
    cdef char out[HTTP1_CHUNK_HEAD_MAX_BYTES]
    return out[: http1_write_chunk_head(size, out)]


def write_last_chunk(Head trailers):
    cdef const head_t* head = NULL if trailers is None else &trailers.head
    return write_with(http1_write_last_chunk, head, http1_last_chunk_bound(head))


def rehearse_request(Head head not None, unsigned int times):
    cdef char* out = <char*>malloc(http1_head_bound(&head.head))
    cdef size_t length = 0
    cdef unsigned int _i
    if out == NULL:
        raise MemoryError
    with nogil:
        for _i in range(times):
            if http1_head_bound(&head.head):
                length = http1_write_request(&head.head, out)
    free(out)
    return length
