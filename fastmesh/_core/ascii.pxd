"""Classes of bytes, by table, and comparison without regard to case. All inline: cimport costs nothing at run time."""

from libc.stdint cimport uint8_t
from libc.string cimport memchr

cdef extern from *:
    """
    #define ASCII_TOKEN 1       /* RFC 9110 5.6.2 */
    #define ASCII_TARGET 2      /* visible, not '#': what a request target may hold */
    #define ASCII_HOST 4        /* RFC 3986 reg-name, less ',' which reads as two hosts elsewhere */
    #define ASCII_HEX 8
    #define ASCII_REQUEST_ID 16
    #define ASCII_DIGIT 32
    #define ASCII_ALNUM_ (ASCII_TOKEN | ASCII_TARGET | ASCII_HOST | ASCII_REQUEST_ID)
    #define ASCII_TGH_ (ASCII_TOKEN | ASCII_TARGET | ASCII_HOST)
    static const unsigned char ascii_class_table[256] __attribute__((unused)) = {
        ['!'] = ASCII_TGH_,
        ['"'] = ASCII_TARGET,
        ['#'] = ASCII_TOKEN,
        ['$'] = ASCII_TGH_,
        ['%'] = ASCII_TOKEN | ASCII_TARGET,
        ['&' ... '\\''] = ASCII_TGH_,
        ['(' ... ')'] = ASCII_TARGET | ASCII_HOST,
        ['*'] = ASCII_TGH_,
        ['+'] = ASCII_TGH_ | ASCII_REQUEST_ID,
        [','] = ASCII_TARGET,
        ['-' ... '.'] = ASCII_TGH_ | ASCII_REQUEST_ID,
        ['/'] = ASCII_TARGET | ASCII_REQUEST_ID,
        ['0' ... '9'] = ASCII_ALNUM_ | ASCII_HEX | ASCII_DIGIT,
        [':'] = ASCII_TARGET | ASCII_REQUEST_ID,
        [';'] = ASCII_TARGET | ASCII_HOST,
        ['<'] = ASCII_TARGET,
        ['='] = ASCII_TARGET | ASCII_HOST | ASCII_REQUEST_ID,
        ['>' ... '@'] = ASCII_TARGET,
        ['A' ... 'F'] = ASCII_ALNUM_ | ASCII_HEX,
        ['G' ... 'Z'] = ASCII_ALNUM_,
        ['[' ... ']'] = ASCII_TARGET,
        ['^'] = ASCII_TOKEN | ASCII_TARGET,
        ['_'] = ASCII_TGH_ | ASCII_REQUEST_ID,
        ['`'] = ASCII_TOKEN | ASCII_TARGET,
        ['a' ... 'f'] = ASCII_ALNUM_ | ASCII_HEX,
        ['g' ... 'z'] = ASCII_ALNUM_,
        ['{'] = ASCII_TARGET,
        ['|'] = ASCII_TOKEN | ASCII_TARGET,
        ['}'] = ASCII_TARGET,
        ['~'] = ASCII_TGH_,
    };
    """
    const uint8_t ascii_class_table[256]
    enum:
        ASCII_TOKEN
        ASCII_TARGET
        ASCII_HOST
        ASCII_HEX
        ASCII_REQUEST_ID
        ASCII_DIGIT


cdef inline bint ascii_is(char byte, uint8_t classes) noexcept nogil:
    return (ascii_class_table[<uint8_t>byte] & classes) != 0


# The first byte that is not of these classes, or `end`.
cdef inline const char* ascii_skip(const char* at, const char* end, uint8_t classes) noexcept nogil:
    while at < end and ascii_class_table[<uint8_t>at[0]] & classes:
        at += 1
    return at


cdef inline bint ascii_is_ows(char byte) noexcept nogil:
    return byte == 32 or byte == 9


cdef inline const char* ascii_skip_ows(const char* at, const char* end) noexcept nogil:
    while at < end and ascii_is_ows(at[0]):
        at += 1
    return at


# The end of what stands before trailing white space.
cdef inline const char* ascii_trim_ows(const char* start, const char* end) noexcept nogil:
    while end > start and ascii_is_ows((end - 1)[0]):
        end -= 1
    return end


cdef inline char ascii_lower(char byte) noexcept nogil:
    return byte + 32 if 65 <= byte <= 90 else byte


# `lowered` is in lower case; `text` is in any.
cdef inline bint ascii_equal(const char* text, const char* lowered, size_t length) noexcept nogil:
    cdef size_t i
    for i in range(length):
        if ascii_lower(text[i]) != lowered[i]:
            return False
    return True


# The value of a hexadecimal digit (see ASCII_HEX).
cdef inline uint8_t ascii_hex_value(char digit) noexcept nogil:
    return <uint8_t>((digit & 15) + 9 if digit > 57 else digit & 15)


# The next element of a comma-separated list (RFC 9110 5.6.1), without white space around it; empty ones are passed
# over. `at` moves behind it; NULL when the list has ended.
cdef inline const char* ascii_next_element(const char** at, const char* end, size_t* length) noexcept nogil:
    cdef const char* start
    cdef const char* stop
    cdef const char* comma
    while at[0] < end:
        start = ascii_skip_ows(at[0], end)
        comma = <const char*>memchr(start, 44, end - start)
        stop = comma if comma != NULL else end
        at[0] = stop + 1 if comma != NULL else end
        stop = ascii_trim_ows(start, stop)
        if stop > start:
            length[0] = stop - start
            return start
    return NULL
