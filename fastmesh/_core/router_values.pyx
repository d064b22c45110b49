"""Tests of a route on headers and query parameters."""

from libc.string cimport memchr, memcmp, memcpy
from fastmesh._core.arena cimport arena_take
from fastmesh._core.headers cimport HEADER_DROPPED, IDENTITY_DNS, IDENTITY_SUBJECT, IDENTITY_URI, header_t
from fastmesh._core.regex cimport regex_fullmatch

from fastmesh._core import regex

cdef dict IDENTITY_NAMES = {"uri": IDENTITY_URI, "dns": IDENTITY_DNS, "subject": IDENTITY_SUBJECT}


cdef bint value_passes(const value_test_t* test, const char* value, size_t length) noexcept nogil:
    # `value` is NULL when there is none; longer than VALUE_MAX_BYTES means cut off.
    cdef bint found = value != NULL
    cdef bint passes = False
    if test.match == VALUE_PRESENT:
        passes = found
    elif test.match == VALUE_ABSENT:
        passes = not found
    elif found:
        if test.match == VALUE_PREFIX:
            passes = length >= test.value.length and memcmp(value, test.value.data, test.value.length) == 0
        elif length > VALUE_MAX_BYTES:
            passes = False
        elif test.match == VALUE_EXACT:
            passes = length == test.value.length and memcmp(value, test.value.data, length) == 0
        else:
            passes = regex_fullmatch(test.pattern, value, length)
    return passes != test.negated


cdef bint name_equals(const char* name, const text_t* lowered) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t byte
    for i in range(lowered.length):
        byte = <uint8_t>name[i]
        if c'A' <= byte <= c'Z':
            byte |= 0x20
        if byte != <uint8_t>lowered.data[i]:
            return False
    return True


cdef const header_t* find_field(const head_t* head, const text_t* name, uint32_t* at) noexcept nogil:
    # The next field of that name from index *at, which is left behind it.
    cdef const header_t* field
    while at[0] < head.count:
        field = &head.headers[at[0]]
        at[0] += 1
        if field.name_len == name.length and not field.flags & HEADER_DROPPED:
            if name_equals(head.text + field.name_off, name):
                return field
    return NULL


cdef bint joined_header_passes(
    const value_test_t* test, const head_t* head, const header_t* field, const header_t* following, uint32_t at
) noexcept nogil:
    cdef char[VALUE_MAX_BYTES + 1] joined
    cdef size_t used = min(<size_t>field.value_len, <size_t>VALUE_MAX_BYTES + 1)
    cdef size_t part
    memcpy(joined, head.text + field.value_off, used)
    while following != NULL and used <= VALUE_MAX_BYTES:
        part = min(<size_t>2, VALUE_MAX_BYTES + 1 - used)
        memcpy(joined + used, <const char*>b", ", part)
        used += part
        part = min(<size_t>following.value_len, VALUE_MAX_BYTES + 1 - used)
        memcpy(joined + used, head.text + following.value_off, part)
        used += part
        following = find_field(head, &test.name, &at)
    return value_passes(test, joined, used)


cdef bint header_test_passes(const value_test_t* test, const head_t* head) noexcept nogil:
    cdef uint32_t at = 0
    cdef const header_t* field = find_field(head, &test.name, &at)
    cdef const header_t* following
    if field == NULL:
        return value_passes(test, NULL, 0)
    following = find_field(head, &test.name, &at)
    if following == NULL:
        return value_passes(test, head.text + field.value_off, field.value_len)
    return joined_header_passes(test, head, field, following, at)


cdef inline int hex_digit(char character) noexcept nogil:
    if c'0' <= character <= c'9':
        return character - c'0'
    character |= 0x20
    return character - c'a' + 10 if c'a' <= character <= c'f' else -1


cdef inline const char* decode_next(const char* at, const char* end, char* out) noexcept nogil:
    # One decoded byte; a percent sign without two digits stands for itself.
    cdef int high
    cdef int low
    out[0] = c' ' if at[0] == c'+' else at[0]
    if at[0] == c'%' and end - at >= 3:
        high = hex_digit(at[1])
        low = hex_digit(at[2])
        if high >= 0 and low >= 0:
            out[0] = <char>(high * 16 + low)
            return at + 3
    return at + 1


cdef bint parameter_is(const char* at, const char* end, const text_t* name) noexcept nogil:
    cdef uint32_t i = 0
    cdef char byte
    while at < end:
        at = decode_next(at, end, &byte)
        if i == name.length or byte != name.data[i]:
            return False
        i += 1
    return i == name.length


cdef bint parameter_passes(const value_test_t* test, const char* at, const char* end) noexcept nogil:
    cdef char[VALUE_MAX_BYTES + 1] decoded
    cdef size_t used = 0
    while at < end and used <= VALUE_MAX_BYTES:
        at = decode_next(at, end, decoded + used)
        used += 1
    return value_passes(test, decoded, used)


cdef bint query_test_passes(const value_test_t* test, const head_t* head) noexcept nogil:
    cdef const char* at = head.text + head.query_off
    cdef const char* end = at + head.query_len
    cdef const char* stop
    cdef const char* equals
    while at < end:
        stop = <const char*>memchr(at, c'&', end - at)
        if stop == NULL:
            stop = end
        equals = <const char*>memchr(at, c'=', stop - at)
        if equals == NULL:
            equals = stop
        if stop > at and parameter_is(at, equals, &test.name):
            return parameter_passes(test, equals + 1 if equals < stop else stop, stop)
        at = stop + 1
    return value_passes(test, NULL, 0)


cdef bint identity_test_passes(const value_test_t* test, const head_t* head) noexcept nogil:
    if head.identity == NULL:
        return value_passes(test, NULL, 0)
    return value_passes(test, head.identity.parts[test.part], head.identity.lengths[test.part])


cdef int text_copy(text_t* target, str source, arena_t* arena) except -1:
    cdef bytes encoded = source.encode()
    cdef char* copy = <char*>arena_take(arena, <size_t>len(encoded) + 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const char*>encoded, <size_t>len(encoded))
    target.data = copy
    target.length = <uint32_t>len(encoded)
    return 0


cdef int value_test_compile(value_test_t* test, object source, arena_t* arena, list patterns) except -1:
    cdef object pattern
    text_copy(&test.name, source.name, arena)
    text_copy(&test.value, source.value, arena)
    test.match = <uint8_t>source.match
    test.negated = source.negated
    if test.match > VALUE_ABSENT:
        raise ValueError(f"a test of {source.name!r} has the unknown kind {test.match}")
    if test.match == VALUE_REGEX:
        pattern = regex.compile(source.value)
        patterns.append(pattern)
        test.pattern = <void*>pattern
    return 0


cdef int identity_test_compile(value_test_t* test, object source, arena_t* arena, list patterns) except -1:
    if source.name not in IDENTITY_NAMES:
        raise ValueError(f"an identity has no part {source.name!r}")
    test.part = IDENTITY_NAMES[source.name]
    return value_test_compile(test, source, arena, patterns)
