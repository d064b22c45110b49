"""gRPC on HTTP: deadlines, statuses, messages and paths."""

from libc.stdint cimport INT64_MAX
from libc.stdlib cimport free, malloc

from fastmesh._core.ascii cimport ASCII_DIGIT, ascii_equal, ascii_is, ascii_skip_ows
from fastmesh._core.reason cimport (
    REASON_BODY_TIMEOUT,
    REASON_BODY_TOO_LARGE,
    REASON_CONNECT_NOT_SUPPORTED,
    REASON_COUNT,
    REASON_DEADLINE_EXCEEDED,
    REASON_DOWNSTREAM_CLOSED,
    REASON_DOWNSTREAM_STALLED,
    REASON_HEAD_TIMEOUT,
    REASON_HEAD_TOO_LARGE,
    REASON_NONE,
    REASON_RATE_LIMITED,
    REASON_REQUEST_TIMEOUT,
    REASON_UPSTREAM_MALFORMED,
    REASON_UPSTREAM_STALLED,
    REASON_URI_TOO_LONG,
    reason_status,
)

cdef enum:
    TIMEOUT_DIGITS_MAX = 8
    TIMEOUT_VALUE_MAX = 99999999
    UNIT_COUNT = 6

cdef struct unit_t:
    char letter
    uint64_t ns

# From fine to coarse.
cdef unit_t[UNIT_COUNT] UNITS
UNITS[0] = unit_t(110, 1)                               # n
UNITS[1] = unit_t(117, 1000)                            # u
UNITS[2] = unit_t(109, 1000000)                         # m
UNITS[3] = unit_t(83, 1000000000)                       # S
UNITS[4] = unit_t(77, <uint64_t>60000000000)            # M
UNITS[5] = unit_t(72, <uint64_t>3600000000000)          # H

# Where the status of a reason is another than that of its HTTP status. UNAVAILABLE, which 502 and 503 become, invites
# clients to try again: it is kept for what has not reached a service, or may work at once.
cdef uint8_t STATUS_OF_REASON[REASON_COUNT]
STATUS_OF_REASON[REASON_URI_TOO_LONG] = GRPC_RESOURCE_EXHAUSTED
STATUS_OF_REASON[REASON_HEAD_TOO_LARGE] = GRPC_RESOURCE_EXHAUSTED
STATUS_OF_REASON[REASON_HEAD_TIMEOUT] = GRPC_DEADLINE_EXCEEDED
STATUS_OF_REASON[REASON_BODY_TOO_LARGE] = GRPC_RESOURCE_EXHAUSTED
STATUS_OF_REASON[REASON_BODY_TIMEOUT] = GRPC_DEADLINE_EXCEEDED
STATUS_OF_REASON[REASON_DOWNSTREAM_CLOSED] = GRPC_CANCELLED
STATUS_OF_REASON[REASON_DOWNSTREAM_STALLED] = GRPC_CANCELLED
STATUS_OF_REASON[REASON_RATE_LIMITED] = GRPC_RESOURCE_EXHAUSTED
STATUS_OF_REASON[REASON_REQUEST_TIMEOUT] = GRPC_DEADLINE_EXCEEDED
STATUS_OF_REASON[REASON_UPSTREAM_MALFORMED] = GRPC_INTERNAL
STATUS_OF_REASON[REASON_UPSTREAM_STALLED] = GRPC_DEADLINE_EXCEEDED
STATUS_OF_REASON[REASON_DEADLINE_EXCEEDED] = GRPC_DEADLINE_EXCEEDED
STATUS_OF_REASON[REASON_CONNECT_NOT_SUPPORTED] = GRPC_UNIMPLEMENTED

cdef const char* HEX_DIGITS = b"0123456789ABCDEF"
cdef const char* CONTENT_TYPE = b"application/grpc"

cdef enum:
    CONTENT_TYPE_BYTES = 16


cdef int grpc_timeout_parse(const char* text, size_t length, uint64_t* ns) noexcept nogil:
    cdef uint64_t value = 0
    cdef size_t i
    if length < 2 or length > GRPC_TIMEOUT_MAX_BYTES:
        return -1
    for i in range(length - 1):
        if not ascii_is(text[i], ASCII_DIGIT):
            return -1
        value = value * 10 + <uint64_t>(text[i] - 48)
    for i in range(UNIT_COUNT):
        if UNITS[i].letter == text[length - 1]:
            ns[0] = value * UNITS[i].ns if value <= <uint64_t>INT64_MAX // UNITS[i].ns else <uint64_t>INT64_MAX
            return 0
    return -1


cdef size_t grpc_timeout_write(uint64_t ns, char* out) noexcept nogil:
    cdef char digits[TIMEOUT_DIGITS_MAX]
    cdef uint64_t value
    cdef size_t written = 0
    cdef int count = 0
    cdef int unit = 0
    if ns == 0:
        ns = 1
    # 64 bits of nanoseconds are seven digits of hours: the last unit always fits.
    while ns // UNITS[unit].ns > TIMEOUT_VALUE_MAX:
        unit += 1
    value = ns // UNITS[unit].ns
    while value > 0:
        digits[count] = <char>(48 + value % 10)
        value = value // 10
        count += 1
    while count > 0:
        count -= 1
        out[written] = digits[count]
        written += 1
    out[written] = UNITS[unit].letter
    return written + 1


cdef int grpc_status_of_http(int status) noexcept nogil:
    if status == 400:
        return GRPC_INTERNAL
    if status == 401:
        return GRPC_UNAUTHENTICATED
    if status == 403:
        return GRPC_PERMISSION_DENIED
    if status == 404:
        return GRPC_UNIMPLEMENTED
    if status == 429 or 502 <= status <= 504:
        return GRPC_UNAVAILABLE
    return GRPC_UNKNOWN


cdef int grpc_status_of_reason(uint8_t reason) noexcept nogil:
    if reason == REASON_NONE:
        return GRPC_OK
    if reason < REASON_COUNT and STATUS_OF_REASON[reason] != 0:
        return STATUS_OF_REASON[reason]
    return grpc_status_of_http(reason_status(reason))


cdef int grpc_status_parse(const char* text, size_t length) noexcept nogil:
    cdef int status
    if length == 0 or length > 2 or not ascii_is(text[0], ASCII_DIGIT):
        return -1
    status = text[0] - 48
    if length == 2:
        if text[0] == 48 or not ascii_is(text[1], ASCII_DIGIT):
            return -1
        status = status * 10 + text[1] - 48
    return status if status < GRPC_STATUS_COUNT else -1


cdef size_t grpc_message_write(const char* text, size_t length, char* out) noexcept nogil:
    cdef uint8_t byte
    cdef size_t written = 0
    cdef size_t i
    for i in range(length):
        byte = <uint8_t>text[i]
        if 32 <= byte <= 126 and byte != 37:
            out[written] = text[i]
            written += 1
            continue
        out[written] = 37
        out[written + 1] = HEX_DIGITS[byte >> 4]
        out[written + 2] = HEX_DIGITS[byte & 15]
        written += 3
    return written


cdef bint grpc_split_path(const char* path, size_t length, grpc_path_t* split) noexcept nogil:
    cdef size_t slash = length
    if length == 0 or path[0] != 47:
        return False
    while path[slash - 1] != 47:
        slash -= 1
    # `slash` is behind the last one: "/S/M" at the least.
    if slash < 3 or slash == length:
        return False
    split.service = path + 1
    split.service_len = slash - 2
    split.method = path + slash
    split.method_len = length - slash
    return True


cdef bint grpc_is_content_type(const char* value, size_t length) noexcept nogil:
    cdef const char* end = value + length
    cdef const char* at
    if length < CONTENT_TYPE_BYTES or not ascii_equal(value, CONTENT_TYPE, CONTENT_TYPE_BYTES):
        return False
    at = value + CONTENT_TYPE_BYTES
    if at < end and at[0] == 43:
        return True
    at = ascii_skip_ows(at, end)
    return at == end or at[0] == 59


# ---- the face for tests


def timeout_parse(bytes text not None):
    cdef uint64_t ns = 0
    return ns if grpc_timeout_parse(text, len(text), &ns) == 0 else None


def timeout_write(uint64_t ns):
    cdef char out[GRPC_TIMEOUT_MAX_BYTES]
    return out[:grpc_timeout_write(ns, out)]


def status_of_http(int status):
    return grpc_status_of_http(status)


def status_of_reason(uint8_t reason):
    return grpc_status_of_reason(reason)


def status_parse(bytes text not None):
    return grpc_status_parse(text, len(text))


def message_write(bytes text not None):
    cdef char* out = <char*>malloc(grpc_message_bound(len(text)) + 1)
    if out == NULL:
        raise MemoryError
    try:
        return out[:grpc_message_write(text, len(text), out)]
    finally:
        free(out)


def split_path(bytes path not None):
    cdef grpc_path_t split
    if not grpc_split_path(path, len(path), &split):
        return None
    return split.service[:split.service_len], split.method[:split.method_len]


def is_content_type(bytes value not None):
    return grpc_is_content_type(value, len(value))
