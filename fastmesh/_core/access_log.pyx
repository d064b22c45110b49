"""Compiling a format into steps, and writing lines by them.

A line is a run of steps, each a literal and then a field. Every step knows how much room the steps behind it need at
least, so a long value takes what is left over and no more: the line ends as its format says.
"""

from fastmesh._core.access_template import FIELDS, OPTIONAL

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen
from libc.time cimport time_t, tm
from fastmesh._core.access_template cimport NUMBERS, json_parts, template_parts
from fastmesh._core.headers cimport HEADER_DROPPED, HEADER_USER_AGENT, HEADER_X_REQUEST_ID, header_t

cdef extern from *:
    """
    /* A bit for each byte of a word that may need an escape: below space, above tilde, quote, backslash. */
    #define FASTMESH_ONES 0x0101010101010101ULL
    #define FASTMESH_TOPS 0x8080808080808080ULL
    #define FASTMESH_ZERO(word) (((word) - FASTMESH_ONES) & ~(word) & FASTMESH_TOPS)
    #define fastmesh_special(word) ( \
        ((word) & FASTMESH_TOPS) | (((word) - FASTMESH_ONES * 0x20) & ~(word) & FASTMESH_TOPS) \
        | (((word) + FASTMESH_ONES) & FASTMESH_TOPS) \
        | FASTMESH_ZERO((word) ^ FASTMESH_ONES * '"') | FASTMESH_ZERO((word) ^ FASTMESH_ONES * 0x5c))
    """
    uint64_t special "fastmesh_special" (uint64_t word) noexcept nogil

cdef extern from *:
    """
    static _Thread_local struct fastmesh_second { uint64_t unix_s; char text[24]; } fastmesh_last_second;
    """
    cdef struct second_t "fastmesh_second":
        uint64_t unix_s
        char text[24]
    second_t last_second "fastmesh_last_second"     # the time that was written last, by thread

cdef extern from "<time.h>" nogil:
    tm* gmtime_r(const time_t* seconds, tm* parts)

cdef enum field_t:
    FIELD_TIME = 0
    FIELD_CLIENT
    FIELD_LISTENER
    FIELD_METHOD
    FIELD_HOST
    FIELD_PATH
    FIELD_QUERY
    FIELD_PROTOCOL
    FIELD_STATUS
    FIELD_REASON
    FIELD_DETAIL
    FIELD_ROUTE
    FIELD_SERVICE
    FIELD_ENDPOINT
    FIELD_DURATION_US
    FIELD_UPSTREAM_US
    FIELD_BYTES_IN
    FIELD_BYTES_OUT
    FIELD_REQUEST_ID
    FIELD_USER_AGENT
    FIELD_RETRIES
    FIELD_UPSTREAM_PROTOCOL
    FIELD_TLS
    FIELD_CLIENT_IDENTITY
    FIELD_GRPC_SERVICE
    FIELD_GRPC_METHOD
    FIELD_GRPC_STATUS
    FIELD_NONE

cdef enum:
    NUMBER_MAX_BYTES = 20
    TIME_BYTES = 24
    STRING_MIN_BYTES = 128          # what every string may take, however long the others are
    CUT_BYTES = 3
    STEP_MAX_BYTES = 8              # written at once: a word, a sequence of UTF-8 or an escape

LINE_MAX_BYTES = ACCESS_LINE_MAX_BYTES
cdef uint64_t SPACES = 0x2020202020202020
cdef const char* HEX = b"0123456789abcdef"
cdef const char* SHORT_ESCAPES = b"\0\0\0\0\0\0\0\0btn\0fr\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"


cdef struct text_t:
    const char* data
    size_t length


cdef uint32_t sequence_length(const uint8_t* data, size_t length) noexcept nogil:
    """The length of the valid UTF-8 sequence of two bytes or more (RFC 3629) at `data`, 0: there is none.

    C1 control characters do not count as valid: a terminal obeys them.
    """
    cdef uint8_t lead = data[0]
    cdef uint32_t wanted, place
    cdef uint8_t low = 0x80, high = 0xBF
    if 0xC2 <= lead <= 0xDF:
        wanted = 2
        low = 0xA0 if lead == 0xC2 else 0x80
    elif 0xE0 <= lead <= 0xEF:
        wanted = 3
        low = 0xA0 if lead == 0xE0 else 0x80
        high = 0x9F if lead == 0xED else 0xBF
    elif 0xF0 <= lead <= 0xF4:
        wanted = 4
        low = 0x90 if lead == 0xF0 else 0x80
        high = 0x8F if lead == 0xF4 else 0xBF
    else:
        return 0
    if length < wanted or not low <= data[1] <= high:
        return 0
    for place in range(2, wanted):
        if data[place] & 0xC0 != 0x80:
            return 0
    return wanted


cdef size_t write_escape(uint8_t byte, bint json, char* out) noexcept nogil:
    """The escape of one byte that cannot stand as it is; at most 6 bytes."""
    out[0] = c"\\"
    if not json:
        out[1] = c"x"
        out[2] = HEX[byte >> 4]
        out[3] = HEX[byte & 15]
        return 4
    if byte == c'"' or byte == c"\\":
        out[1] = byte
        return 2
    if byte < 0x20 and SHORT_ESCAPES[byte] != 0:
        out[1] = SHORT_ESCAPES[byte]
        return 2
    if byte >= 0x80:
        memcpy(out, b"\\ufffd", 6)
        return 6
    memcpy(out, b"\\u00", 4)
    out[4] = HEX[byte >> 4]
    out[5] = HEX[byte & 15]
    return 6


cdef size_t write_text(text_t text, bint json, char* out, size_t room) noexcept nogil:
    """Escape into at most `room` bytes; what is cut ends in dots."""
    cdef const uint8_t* data = <const uint8_t*>text.data
    cdef size_t end = text.length
    cdef size_t done = 0, written = 0
    cdef size_t limit = room - CUT_BYTES - STEP_MAX_BYTES
    cdef uint64_t word
    cdef size_t step
    cdef uint32_t sequence
    while done < end and written <= limit:
        # Eight bytes at once, if none of them is special; beyond the end, spaces stand in.
        step = 8
        if end - done >= 8:
            memcpy(&word, data + done, 8)
        else:
            step = end - done
            word = SPACES
            memcpy(&word, data + done, step)
        if special(word) == 0:
            memcpy(out + written, &word, 8)
            done += step
            written += step
            continue
        if 0x20 <= data[done] < 0x7F and data[done] != c'"' and data[done] != c"\\":
            out[written] = data[done]
            done += 1
            written += 1
            continue
        sequence = sequence_length(data + done, end - done) if data[done] >= 0x80 else 0
        if sequence != 0:
            memcpy(out + written, data + done, sequence)
            done += sequence
            written += sequence
            continue
        written += write_escape(data[done], json, out + written)
        done += 1
    if done < end:
        memcpy(out + written, b"...", CUT_BYTES)
        written += CUT_BYTES
    return written


cdef size_t write_number(uint64_t number, char* out) noexcept nogil:
    cdef char digits[NUMBER_MAX_BYTES]
    cdef size_t first = NUMBER_MAX_BYTES
    while True:
        first -= 1
        digits[first] = <char>(c"0" + number % 10)
        number //= 10
        if number == 0:
            break
    memcpy(out, digits + first, NUMBER_MAX_BYTES - first)
    return NUMBER_MAX_BYTES - first


cdef void write_digits(uint64_t number, char* out, int count) noexcept nogil:
    while count > 0:
        count -= 1
        out[count] = <char>(c"0" + number % 10)
        number //= 10


cdef void write_second(uint64_t unix_s, char* out) noexcept nogil:
    """RFC 3339 in UTC, with the milliseconds still 0."""
    cdef time_t seconds = <time_t>unix_s
    cdef tm parts
    memset(&parts, 0, sizeof(tm))
    gmtime_r(&seconds, &parts)
    memcpy(out, b"0000-00-00T00:00:00.000Z", TIME_BYTES)
    write_digits(parts.tm_year + 1900, out, 4)
    write_digits(parts.tm_mon + 1, out + 5, 2)
    write_digits(parts.tm_mday, out + 8, 2)
    write_digits(parts.tm_hour, out + 11, 2)
    write_digits(parts.tm_min, out + 14, 2)
    write_digits(parts.tm_sec, out + 17, 2)


cdef size_t write_time(uint64_t unix_us, char* out) noexcept nogil:
    """RFC 3339 in UTC with milliseconds. Lines of the same second share the work."""
    cdef uint64_t second_us = 1000000
    if last_second.unix_s != unix_us // second_us or last_second.text[0] == 0:
        last_second.unix_s = unix_us // second_us
        write_second(last_second.unix_s, last_second.text)
    memcpy(out, last_second.text, TIME_BYTES)
    write_digits(unix_us % second_us // 1000, out + 20, 3)
    return TIME_BYTES


cdef text_t zero_terminated(const char* data) noexcept nogil:
    return text_t(data, strlen(data))


cdef text_t header_value(const head_t* head, uint8_t header_id) noexcept nogil:
    cdef uint16_t place
    cdef const header_t* header
    for place in range(head.count):
        header = &head.headers[place]
        if header.id == header_id and not header.flags & HEADER_DROPPED:
            return text_t(head.text + header.value_off, header.value_len)
    return text_t(b"", 0)


cdef text_t request_text(const head_t* head, int field) noexcept nogil:
    if head == NULL:
        return text_t(b"", 0)
    if field == FIELD_METHOD:
        return text_t(head.text + head.method_off, head.method_len)
    if field == FIELD_HOST:
        return text_t(head.text + head.authority_off, head.authority_len)
    if field == FIELD_PATH:
        return text_t(head.text + head.path_off, head.path_len)
    if field == FIELD_QUERY:
        return text_t(head.text + head.query_off, head.query_len)
    return header_value(head, HEADER_USER_AGENT if field == FIELD_USER_AGENT else HEADER_X_REQUEST_ID)


cdef text_t string_field(const access_record_t* record, int field) noexcept nogil:
    if field == FIELD_CLIENT:
        return zero_terminated(record.client)
    if field == FIELD_LISTENER:
        return zero_terminated(record.listener)
    if field == FIELD_REASON:
        return zero_terminated(record.reason)
    if field == FIELD_DETAIL:
        return zero_terminated(record.detail)
    if field == FIELD_ROUTE:
        return zero_terminated(record.route)
    if field == FIELD_SERVICE:
        return zero_terminated(record.service)
    if field == FIELD_ENDPOINT:
        return zero_terminated(record.endpoint)
    if field == FIELD_PROTOCOL:
        return zero_terminated(record.protocol)
    if field == FIELD_UPSTREAM_PROTOCOL:
        return zero_terminated(record.upstream_protocol)
    if field == FIELD_TLS:
        return zero_terminated(record.tls)
    if field == FIELD_CLIENT_IDENTITY:
        return zero_terminated(record.identity)
    if field == FIELD_GRPC_STATUS:
        return zero_terminated(record.grpc_status)
    if field == FIELD_GRPC_SERVICE:
        return text_t(record.grpc_service, record.grpc_service_len)
    if field == FIELD_GRPC_METHOD:
        return text_t(record.grpc_method, record.grpc_method_len)
    return request_text(record.request, field)


cdef size_t write_field(const access_record_t* record, int field, bint json, char* out, size_t room) noexcept nogil:
    if field == FIELD_TIME:
        return write_time(record.started_unix_us, out)
    if field == FIELD_STATUS:
        return write_number(record.status, out)
    if field == FIELD_DURATION_US:
        return write_number(record.duration_us, out)
    if field == FIELD_UPSTREAM_US:
        return write_number(record.upstream_us, out)
    if field == FIELD_BYTES_IN:
        return write_number(record.bytes_in, out)
    if field == FIELD_BYTES_OUT:
        return write_number(record.bytes_out, out)
    if field == FIELD_RETRIES:
        return write_number(record.retries, out)
    return write_text(string_field(record, field), json, out, room)


cdef size_t write_optional(
    const access_step_t* step, const access_record_t* record, char* out, size_t room
) noexcept nogil:
    cdef text_t text = string_field(record, step.field)
    cdef size_t written = step.literal_len
    if text.length == 0:
        return 0
    memcpy(out, step.literal, step.literal_len)
    written += write_text(text, True, out + written, room - written - 1)
    out[written] = c'"'
    return written + 1


cdef size_t access_format(
    const access_format_t* format, const access_record_t* record, char* out, size_t room
) noexcept nogil:
    cdef char line[ACCESS_LINE_MAX_BYTES]
    cdef char* place = out if room >= ACCESS_LINE_MAX_BYTES else line
    cdef size_t written = 0
    cdef uint32_t number
    cdef const access_step_t* step
    for number in range(format.count):
        step = &format.steps[number]
        if step.is_optional:
            written += write_optional(
                step, record, place + written, ACCESS_LINE_MAX_BYTES - written - step.rest_bytes
            )
            continue
        memcpy(place + written, step.literal, step.literal_len)
        written += step.literal_len
        if step.field != FIELD_NONE:
            written += write_field(
                record, step.field, format.json, place + written, ACCESS_LINE_MAX_BYTES - written - step.rest_bytes
            )
    if place == line:
        if written > room:
            return 0
        memcpy(out, line, written)
    return written


@cython.final
cdef class AccessFormat:
    def __cinit__(self, str template=""):
        cdef access_step_t* step
        parts = template_parts(template) if template else json_parts()
        encoded = [(literal.encode(), FIELD_NONE if name is None else FIELDS.index(name)) for literal, name in parts]
        self.literals = b"".join([literal for literal, _ in encoded])
        self.ptr = <access_format_t*>calloc(1, sizeof(access_format_t))
        if self.ptr == NULL:
            raise MemoryError()
        self.ptr.steps = <access_step_t*>calloc(len(encoded), sizeof(access_step_t))
        if self.ptr.steps == NULL:
            raise MemoryError()
        self.ptr.count = <uint32_t>len(encoded)
        self.ptr.json = not template
        needed = 0
        end = len(self.literals)
        for number in range(len(encoded) - 1, -1, -1):
            literal, field = encoded[number]
            step = &self.ptr.steps[<uint32_t>number]
            step.field = field
            step.rest_bytes = needed
            step.is_optional = not template and field != FIELD_NONE and FIELDS[field] in OPTIONAL
            step.literal_len = len(literal)
            end -= len(literal)
            step.literal = <const char*>self.literals + <size_t>end
            needed += len(literal) + least_bytes(field) + step.is_optional
            if needed > ACCESS_LINE_MAX_BYTES:
                raise ValueError(f"access log template: a line may exceed {ACCESS_LINE_MAX_BYTES} bytes; shorten it")

    def __dealloc__(self):
        if self.ptr != NULL:
            free(self.ptr.steps)
            free(self.ptr)

    def format(self, record):
        cdef access_record_t written
        cdef head_t head
        cdef header_t headers[2]
        cdef char line[ACCESS_LINE_MAX_BYTES]
        cdef size_t length
        values = {name: 0 if name in NUMBERS or name == "time" else b"" for name in FIELDS}
        for name, value in record.items():
            if name not in values:
                raise KeyError(name)
            values[name] = value.encode() if isinstance(value, str) else value
        # `values` and `text` own what the record points into.
        text = fill_head(&head, headers, values)
        memset(&written, 0, sizeof(access_record_t))
        written.request = &head if "method" in record else NULL
        written.started_unix_us = values["time"]
        written.duration_us = values["duration_us"]
        written.upstream_us = values["upstream_us"]
        written.bytes_in = values["bytes_in"]
        written.bytes_out = values["bytes_out"]
        written.status = values["status"]
        written.retries = values["retries"]
        written.client = values["client"]
        written.listener = values["listener"]
        written.route = values["route"]
        written.service = values["service"]
        written.endpoint = values["endpoint"]
        written.reason = values["reason"]
        written.detail = values["detail"]
        written.protocol = values["protocol"]
        written.upstream_protocol = values["upstream_protocol"]
        written.tls = values["tls"]
        written.identity = values["client_identity"]
        written.grpc_status = values["grpc_status"]
        written.grpc_service, written.grpc_service_len = values["grpc_service"], len(values["grpc_service"])
        written.grpc_method, written.grpc_method_len = values["grpc_method"], len(values["grpc_method"])
        length = access_format(self.ptr, &written, line, ACCESS_LINE_MAX_BYTES)
        del text
        return line[:length]


cdef int least_bytes(int field) except -1:
    """The room that a field needs at least."""
    if field == FIELD_NONE:
        return 0
    if field == FIELD_TIME:
        return TIME_BYTES
    return NUMBER_MAX_BYTES if FIELDS[field] in NUMBERS else STRING_MIN_BYTES


cdef bytes fill_head(head_t* head, header_t* headers, dict values):
    """Make a head of a record's values: it points into the text that is returned."""
    cdef bytes text
    cdef uint32_t offsets[6]
    names = ("method", "host", "path", "query", "request_id", "user_agent")
    place = 0
    for number, name in enumerate(names):
        offsets[<int>number] = place
        place += len(values[name])
    text = b"".join([values[name] for name in names])
    memset(head, 0, sizeof(head_t))
    memset(headers, 0, 2 * sizeof(header_t))
    head.text = <char*>text
    head.headers = headers
    head.count = 2
    head.method_off, head.method_len = offsets[0], len(values["method"])
    head.authority_off, head.authority_len = offsets[1], len(values["host"])
    head.path_off, head.path_len = offsets[2], len(values["path"])
    head.query_off, head.query_len = offsets[3], len(values["query"])
    headers[0].id, headers[1].id = HEADER_X_REQUEST_ID, HEADER_USER_AGENT
    headers[0].value_off, headers[0].value_len = offsets[4], len(values["request_id"])
    headers[1].value_off, headers[1].value_len = offsets[5], len(values["user_agent"])
    return text
