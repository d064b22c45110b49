"""X-Forwarded-For as it came: whom of those it names to believe."""

from fastmesh._core.ascii cimport ASCII_HEX, ascii_is, ascii_skip_ows, ascii_trim_ows
from fastmesh._core.headers cimport HEADER_DROPPED, HEADER_X_FORWARDED_FOR, header_t

cdef enum:
    ADDRESS_MAX_BYTES = 55              # [IPv6 with an IPv4 tail]:port


cdef const char* forwarded_for_first(const head_t* head, uint8_t hops, uint32_t* length) noexcept nogil:
    cdef const header_t* header
    cdef const char* found = NULL
    cdef const char* value
    cdef const char* start
    cdef const char* stop
    cdef int i
    for i in range(<int>head.count - 1, -1, -1):
        header = &head.headers[i]
        if header.id != HEADER_X_FORWARDED_FOR or header.flags & HEADER_DROPPED:
            continue
        value = head.text + header.value_off
        stop = value + header.value_len
        while stop > value and hops > 0:
            start = stop
            while start > value and (start - 1)[0] != 44:
                start -= 1
            if ascii_skip_ows(start, stop) < stop:
                found = ascii_skip_ows(start, stop)
                length[0] = <uint32_t>(ascii_trim_ows(found, stop) - found)
                hops -= 1
            stop = start - 1 if start > value else value
    return found


cdef bint forwarded_for_is_address(const char* text, uint32_t length) noexcept nogil:
    cdef uint32_t i
    if length == 0 or length > ADDRESS_MAX_BYTES:
        return False
    for i in range(length):
        if not (ascii_is(text[i], ASCII_HEX) or text[i] == 46 or text[i] == 58 or text[i] == 91 or text[i] == 93):
            return False
    return True
