"""Classes of bytes, by table, and comparison without regard to case. All inline: cimport costs nothing at run time.

Runs of bytes go 16 at a time where there is SSE2, as long as 16 are left; the rest, and other machines, byte by byte.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcpy

cdef extern from *:
    """
    #define ASCII_TOKEN 1       /* RFC 9110 5.6.2 */
    #define ASCII_TARGET 2      /* visible, not '#': what a request target may hold */
    #define ASCII_HOST 4        /* RFC 3986 reg-name, less ',' which reads as two hosts elsewhere */
    #define ASCII_HEX 8
    #define ASCII_REQUEST_ID 16
    #define ASCII_DIGIT 32
    #define ASCII_COMMON 64     /* letters, digits, '-', '.': what most names consist of; in all classes above but
                                   ASCII_HEX and ASCII_DIGIT */
    #define ASCII_ALNUM_ (ASCII_COMMON | ASCII_TOKEN | ASCII_TARGET | ASCII_HOST | ASCII_REQUEST_ID)
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
        ['-' ... '.'] = ASCII_ALNUM_,
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

    #ifdef __SSE2__
    #include <emmintrin.h>
    #include <stdint.h>
    /* Which of 16 bytes are from `first` on and no more than `count`: a signed comparison, moved to where it begins. */
    #define ASCII_RANGE_(bytes, first, count) _mm_cmplt_epi8( \
        _mm_add_epi8(bytes, _mm_set1_epi8((char)(0x80 - (first)))), _mm_set1_epi8((char)(0x80 + (count))))
    /* A bit for each byte that is not of ASCII_COMMON. */
    static inline uint32_t ascii_uncommon(__m128i bytes) {
        const __m128i letters = ASCII_RANGE_(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 26);
        const __m128i others = _mm_or_si128(ASCII_RANGE_(bytes, '0', 10), ASCII_RANGE_(bytes, '-', 2));
        return (uint32_t)_mm_movemask_epi8(_mm_or_si128(letters, others)) ^ 0xFFFF;
    }
    /* The first block alone, without a loop: names seldom need more. */
    static inline const char* ascii_skip_common_block(const char* at, const char* end) {
        if (end - at < 16)
            return at;
        return at + __builtin_ctz(ascii_uncommon(_mm_loadu_si128((const __m128i*)at)) | 0x10000);
    }
    static inline const char* ascii_skip_common_blocks(const char* at, const char* end) {
        uint32_t rest;
        for (; end - at >= 16; at += 16) {
            rest = ascii_uncommon(_mm_loadu_si128((const __m128i*)at));
            if (rest)
                return at + __builtin_ctz(rest);
        }
        if (end - at >= 8) {
            rest = ascii_uncommon(_mm_loadl_epi64((const __m128i*)at));     /* the upper half is 0: uncommon */
            at += __builtin_ctz(rest);
        }
        return at;
    }
    static inline const char* ascii_skip_target_blocks(const char* at, const char* end) {
        while (end - at >= 16) {
            const __m128i bytes = _mm_loadu_si128((const __m128i*)at);
            const __m128i hash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#'));
            const __m128i good = _mm_andnot_si128(hash, ASCII_RANGE_(bytes, '!', '~' - '!' + 1));
            const uint32_t rest = (uint32_t)_mm_movemask_epi8(good) ^ 0xFFFF;
            if (rest)
                return at + __builtin_ctz(rest);
            at += 16;
        }
        return at;
    }
    /* Stops early, at a tab and where a byte is not ASCII. */
    static inline const char* ascii_skip_text_blocks(const char* at, const char* end) {
        for (; end - at >= 16; at += 16) {
            const __m128i bytes = _mm_loadu_si128((const __m128i*)at);
            const __m128i after = _mm_add_epi8(bytes, _mm_set1_epi8(1));    /* DEL becomes the lowest of all */
            const uint32_t rest = (uint32_t)_mm_movemask_epi8(_mm_cmplt_epi8(after, _mm_set1_epi8(33)));
            if (rest)
                return at + __builtin_ctz(rest);
        }
        return at;
    }
    static inline const char* ascii_find_in_blocks(const char* at, const char* end, char byte) {
        while (end - at >= 16) {
            const __m128i bytes = _mm_loadu_si128((const __m128i*)at);
            const uint32_t found = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte)));
            if (found)
                return at + __builtin_ctz(found);
            at += 16;
        }
        return at;
    }
    #else
    #define ascii_skip_common_block(at, end) (at)
    #define ascii_skip_common_blocks(at, end) (at)
    #define ascii_skip_target_blocks(at, end) (at)
    #define ascii_skip_text_blocks(at, end) (at)
    #define ascii_find_in_blocks(at, end, byte) (at)
    #endif
    """
    const char* ascii_skip_common_block(const char* at, const char* end) noexcept nogil
    const char* ascii_skip_common_blocks(const char* at, const char* end) noexcept nogil
    const char* ascii_skip_target_blocks(const char* at, const char* end) noexcept nogil
    const char* ascii_skip_text_blocks(const char* at, const char* end) noexcept nogil
    const char* ascii_find_in_blocks(const char* at, const char* end, char byte) noexcept nogil
    const uint8_t ascii_class_table[256]
    enum:
        ASCII_TOKEN
        ASCII_TARGET
        ASCII_HOST
        ASCII_HEX
        ASCII_REQUEST_ID
        ASCII_DIGIT
        ASCII_COMMON


cdef inline bint ascii_is(char byte, uint8_t classes) noexcept nogil:
    return (ascii_class_table[<uint8_t>byte] & classes) != 0


# The first byte that is not of this class, or `end`.
cdef inline const char* ascii_skip(const char* at, const char* end, uint8_t classes) noexcept nogil:
    if classes == ASCII_TARGET:
        at = ascii_skip_target_blocks(at, end)
    elif classes != ASCII_HEX and classes != ASCII_DIGIT:
        at = ascii_skip_common_blocks(at, end)
    while at < end and ascii_class_table[<uint8_t>at[0]] & classes:
        at += 1
    return at


# The first control character other than HTAB, or `end`.
cdef inline const char* ascii_skip_text(const char* at, const char* end) noexcept nogil:
    at = ascii_skip_text_blocks(at, end)
    if at < end and at[0] == 13:
        return at
    while at < end and ((<uint8_t>at[0] >= 32 and at[0] != 127) or at[0] == 9):
        at += 1
    return at


# The first byte that is this one, or `end`: for short ways, where the C library's memchr is mostly the call.
cdef inline const char* ascii_find(const char* at, const char* end, char byte) noexcept nogil:
    at = ascii_find_in_blocks(at, end, byte)
    while at < end and at[0] != byte:
        at += 1
    return at


cdef inline bint ascii_is_ows(char byte) noexcept nogil:
    return (byte == 32) | (byte == 9)       # no jump


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


# Eight bytes in lower case at once: a sum that carries into a byte's top bit compares it, and no sum carries further.
cdef inline uint64_t ascii_lower_word(uint64_t word) noexcept nogil:
    cdef uint64_t low_bits = word & <uint64_t>0x7F7F7F7F7F7F7F7F
    cdef uint64_t from_a = low_bits + <uint64_t>0x3F3F3F3F3F3F3F3F          # 0x80 - "A"
    cdef uint64_t behind_z = low_bits + <uint64_t>0x2525252525252525        # 0x80 - "[", the byte behind "Z"
    return word | ((from_a & ~behind_z & ~word & <uint64_t>0x8080808080808080) >> 2)


cdef inline void ascii_lower_copy(char* out, const char* text, size_t length) noexcept nogil:
    cdef size_t at = 0
    cdef uint64_t word
    while at + 8 <= length:
        memcpy(&word, text + at, 8)
        word = ascii_lower_word(word)
        memcpy(out + at, &word, 8)
        at += 8
    if at < length and length >= 8:
        memcpy(&word, text + length - 8, 8)
        word = ascii_lower_word(word)
        memcpy(out + length - 8, &word, 8)
        return
    while at < length:
        out[at] = ascii_lower(text[at])
        at += 1


# `lowered` is in lower case; `text` is in any.
cdef inline bint ascii_equal(const char* text, const char* lowered, size_t length) noexcept nogil:
    cdef size_t i = 0
    cdef uint64_t word
    cdef uint64_t known
    while i + 8 <= length:
        memcpy(&word, text + i, 8)
        memcpy(&known, lowered + i, 8)
        if word != known and ascii_lower_word(word) != known:
            return False
        i += 8
    while i < length:
        if ascii_lower(text[i]) != lowered[i]:
            return False
        i += 1
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
