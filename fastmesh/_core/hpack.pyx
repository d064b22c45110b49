"""Header blocks: representations, integers and strings of RFC 7541 5 and 6."""

import cython
from libc.stdint cimport UINT32_MAX, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from fastmesh._core.ascii cimport ascii_lower
from fastmesh._core.hpack_huffman cimport HUFFMAN_NO_ROOM, hpack_huffman_decode
from fastmesh._core.hpack_table cimport (
    HPACK_STATIC_COUNT,
    hpack_entry_t,
    hpack_static_entry,
    hpack_static_find,
    hpack_static_t,
    hpack_table_add,
    hpack_table_clear,
    hpack_table_copy,
    hpack_table_find,
    hpack_table_resize,
)

cdef enum:
    LINE_EXTRA_BYTES = 4        # ": ", CR LF
    INTEGER_SHIFT_MAX = 28      # five bytes behind the prefix: more than any length or index needs

cdef enum:                      # the first byte of a representation: a pattern, and an integer in the bits below
    INDEXED = 0x80
    INDEXED_MASK = 0x7F
    ADDED = 0x40
    ADDED_MASK = 0x3F
    RESIZED = 0x20
    RESIZED_MASK = 0x1F
    NEVER_INDEXED = 0x10
    LITERAL_MASK = 0x0F
    HUFFMAN = 0x80              # and of a string
    STRING_MASK = 0x7F

cdef struct string_t:           # in the block
    const uint8_t* at
    uint32_t length
    bint is_huffman

cdef struct shown_t:            # a field as the block shows it
    uint8_t pattern             # INDEXED, ADDED, NEVER_INDEXED or 0
    uint32_t index              # of the field or of its name; 0: the name is a string
    string_t name
    string_t value


# --- reading

cdef void hpack_reader_init(
    hpack_reader_t* reader, hpack_decoder_t* decoder, const char* block, size_t length
) noexcept nogil:
    reader.decoder = decoder
    reader.at = <const uint8_t*>block
    reader.end = reader.at + length
    reader.begun = False


# An integer whose prefix is in the bits of `mask` (RFC 7541 5.1); there is at least one byte.
cdef inline int read_integer(hpack_reader_t* reader, uint8_t mask, uint32_t* value) noexcept nogil:
    cdef uint64_t number = reader.at[0] & mask
    cdef uint32_t shift = 0
    reader.at += 1
    if number == mask:
        while True:
            if reader.at == reader.end or shift > INTEGER_SHIFT_MAX:
                return HPACK_BAD
            number += <uint64_t>(reader.at[0] & 127) << shift
            shift += 7
            reader.at += 1
            if not (reader.at - 1)[0] & 128:
                break
    if number > <uint64_t>UINT32_MAX:
        return HPACK_BAD
    value[0] = <uint32_t>number
    return 0


cdef inline int read_string(hpack_reader_t* reader, string_t* string) noexcept nogil:
    if reader.at == reader.end:
        return HPACK_BAD
    string.is_huffman = (reader.at[0] & HUFFMAN) != 0
    if read_integer(reader, STRING_MASK, &string.length) < 0 or string.length > reader.end - reader.at:
        return HPACK_BAD
    string.at = reader.at
    reader.at += string.length
    return 0


cdef int read_resizes(hpack_reader_t* reader) noexcept nogil:
    cdef uint32_t size = 0
    while reader.at < reader.end and reader.at[0] & 0xE0 == RESIZED:
        if read_integer(reader, RESIZED_MASK, &size) < 0 or size > HPACK_TABLE_BYTES:
            return HPACK_BAD
        hpack_table_resize(reader.decoder, size)
    reader.begun = True
    return 0


# The next representation, whole, whatever becomes of it. 1, 0 at the end of the block, or HPACK_BAD.
cdef int read_shown(hpack_reader_t* reader, shown_t* shown) noexcept nogil:
    cdef uint8_t byte
    cdef uint8_t mask
    if not reader.begun and read_resizes(reader) < 0:
        return HPACK_BAD
    if reader.at == reader.end:
        return 0
    byte = reader.at[0]
    if byte & INDEXED:
        shown.pattern = INDEXED
        mask = INDEXED_MASK
    elif byte & ADDED:
        shown.pattern = ADDED
        mask = ADDED_MASK
    elif byte & RESIZED:
        return HPACK_BAD
    else:
        shown.pattern = byte & NEVER_INDEXED
        mask = LITERAL_MASK
    if read_integer(reader, mask, &shown.index) < 0:
        return HPACK_BAD
    if shown.pattern == INDEXED:
        return 1 if shown.index else HPACK_BAD
    if shown.index == 0 and read_string(reader, &shown.name) < 0:
        return HPACK_BAD
    return 1 if read_string(reader, &shown.value) == 0 else HPACK_BAD


# The length of the string, written to `out`, or hpack_error_t.
cdef inline ssize_t put_string(const string_t* string, char* out, size_t room) noexcept nogil:
    cdef ssize_t length
    if string.is_huffman:
        length = hpack_huffman_decode(string.at, string.length, out, room)
        if length >= 0:
            return length
        return HPACK_TOO_LARGE if length == HUFFMAN_NO_ROOM else HPACK_BAD
    if string.length > room:
        return HPACK_TOO_LARGE
    memcpy(out, string.at, string.length)
    return string.length


# What an index stands for: its name, and its value where the whole field is `wanted`.
cdef int put_indexed(
    const hpack_decoder_t* decoder, const shown_t* shown, char* line, size_t room, hpack_field_t* field
) noexcept nogil:
    cdef const hpack_entry_t* entry = NULL
    cdef const hpack_static_t* known = NULL
    cdef bint is_whole = shown.pattern == INDEXED
    if shown.index <= HPACK_STATIC_COUNT:
        known = hpack_static_entry(shown.index)
        field.static_index = <uint8_t>shown.index
        field.name_len = known.name_len
        field.value_len = known.value_len if is_whole else 0
    else:
        entry = hpack_table_find(decoder, shown.index)
        if entry == NULL:
            return HPACK_BAD
        field.static_index = entry.static_index
        field.name_len = entry.name_len
        field.value_len = entry.value_len if is_whole else 0
    if <size_t>field.name_len + field.value_len + LINE_EXTRA_BYTES > room:
        return HPACK_TOO_LARGE
    if known != NULL:
        memcpy(line, known.name, field.name_len)
        memcpy(line + field.name_len + 2, known.value, field.value_len)
    else:
        hpack_table_copy(decoder, entry.offset, field.name_len, line)
        hpack_table_copy(decoder, entry.offset + field.name_len, field.value_len, line + field.name_len + 2)
    return 0


cdef int put_line(
    const hpack_decoder_t* decoder, const shown_t* shown, char* line, size_t room, hpack_field_t* field
) noexcept nogil:
    cdef ssize_t length
    cdef int error
    field.never_indexed = shown.pattern == NEVER_INDEXED
    field.value_len = 0
    if shown.index:
        error = put_indexed(decoder, shown, line, room, field)
        if error < 0:
            return error
    else:
        field.static_index = 0
        length = put_string(&shown.name, line, room)
        if length < 0:
            return <int>length
        field.name_len = <uint32_t>length
    if field.name_len + <size_t>LINE_EXTRA_BYTES > room:
        return HPACK_TOO_LARGE
    if shown.pattern != INDEXED:
        length = put_string(
            &shown.value, line + field.name_len + 2, room - field.name_len - LINE_EXTRA_BYTES
        )
        if length < 0:
            return <int>length
        field.value_len = <uint32_t>length
    memcpy(line + field.name_len, b": ", 2)
    memcpy(line + field.name_len + 2 + field.value_len, b"\r\n", 2)
    return 0


cdef inline int add(hpack_decoder_t* decoder, const char* line, const hpack_field_t* field) noexcept nogil:
    # From the line: a name that came from the table may lose its entry there.
    cdef int error = hpack_table_add(
        decoder, line, field.name_len, line + field.name_len + 2, field.value_len, field.static_index
    )
    return 0 if error == 0 else HPACK_NO_MEMORY


# Do to the table what a field does that is not delivered. What does not fit here does not fit the table either, and is
# looked at no further.
cdef int add_unseen(hpack_decoder_t* decoder, const shown_t* shown) noexcept nogil:
    cdef char line[HPACK_TABLE_BYTES + LINE_EXTRA_BYTES]
    cdef hpack_field_t field
    cdef int error = put_line(decoder, shown, line, sizeof(line), &field)
    if error == HPACK_TOO_LARGE:
        if shown.pattern == ADDED:
            hpack_table_clear(decoder)
        return 0
    if error == 0 and shown.pattern == ADDED:
        return add(decoder, line, &field)
    return error


cdef int hpack_read_field(hpack_reader_t* reader, char* line, size_t room, hpack_field_t* field) noexcept nogil:
    cdef shown_t shown
    cdef int error = read_shown(reader, &shown)
    if error <= 0:
        return error
    error = put_line(reader.decoder, &shown, line, room, field)
    if error == HPACK_TOO_LARGE:
        error = add_unseen(reader.decoder, &shown)
        return error if error < 0 else HPACK_TOO_LARGE
    if error == 0 and shown.pattern == ADDED:
        error = add(reader.decoder, line, field)
    return error if error < 0 else 1


cdef int hpack_read_rest(hpack_reader_t* reader) noexcept nogil:
    cdef shown_t shown
    cdef int error
    while True:
        error = read_shown(reader, &shown)
        if error > 0:
            error = add_unseen(reader.decoder, &shown)
            if error == 0:
                continue
        return error


# --- writing

cdef inline char* put_integer(char* out, uint8_t pattern, uint8_t mask, size_t value) noexcept nogil:
    if value < mask:
        out[0] = <char>(pattern | value)
        return out + 1
    out[0] = <char>(pattern | mask)
    out += 1
    value -= mask
    while value > 127:
        out[0] = <char>(128 | (value & 127))
        out += 1
        value >>= 7
    out[0] = <char>value
    return out + 1


cdef char* hpack_write_indexed(char* out, uint8_t static_index) noexcept nogil:
    out[0] = <char>(INDEXED | static_index)
    return out + 1


cdef char* hpack_write_name(char* out, uint8_t static_index, size_t value_len, bint sensitive) noexcept nogil:
    out = put_integer(out, NEVER_INDEXED if sensitive else 0, LITERAL_MASK, static_index)
    return put_integer(out, 0, STRING_MASK, value_len)


cdef char* hpack_write_named(
    char* out, uint8_t static_index, const char* value, size_t value_len, bint sensitive
) noexcept nogil:
    out = hpack_write_name(out, static_index, value_len, sensitive)
    memcpy(out, value, value_len)
    return out + value_len


# The entry of the static table that is the whole field, or 0; `index` is the first with its name.
cdef inline uint8_t find_whole(uint8_t index, const char* value, size_t value_len) noexcept nogil:
    cdef const hpack_static_t* first = hpack_static_entry(index)
    cdef const hpack_static_t* entry = first
    while entry.value_len and entry.name_len == first.name_len and memcmp(entry.name, first.name, first.name_len) == 0:
        if entry.value_len == value_len and memcmp(entry.value, value, value_len) == 0:
            return index
        index += 1
        entry = hpack_static_entry(index)
    return 0


cdef char* hpack_write_field(
    char* out, const char* name, size_t name_len, const char* value, size_t value_len, bint sensitive
) noexcept nogil:
    cdef uint8_t index = hpack_static_find(name, name_len)
    cdef uint8_t whole
    cdef size_t i
    if index:
        # A field of the static table is known to all: there is nothing to hide.
        whole = find_whole(index, value, value_len)
        if whole:
            return hpack_write_indexed(out, whole)
        return hpack_write_named(out, index, value, value_len, sensitive)
    out[0] = NEVER_INDEXED if sensitive else 0
    out = put_integer(out + 1, 0, STRING_MASK, name_len)
    for i in range(name_len):
        out[i] = ascii_lower(name[i])
    out = put_integer(out + name_len, 0, STRING_MASK, value_len)
    memcpy(out, value, value_len)
    return out + value_len


# --- the face to Python

class HpackError(ValueError):
    def __init__(self, name):
        super().__init__(name)
        self.name = name


cdef dict ERROR_NAMES = {HPACK_BAD: "bad", HPACK_TOO_LARGE: "too_large", HPACK_NO_MEMORY: "no_memory"}


@cython.final
cdef class Decoder:
    def __cinit__(self):
        hpack_decoder_init(&self.decoder)

    def __dealloc__(self):
        hpack_decoder_free(&self.decoder)

    def decode(self, bytes block not None, size_t room=65536):
        cdef hpack_reader_t reader
        cdef hpack_field_t field
        cdef list fields = []
        cdef int result = HPACK_NO_MEMORY
        cdef char* line = <char*>malloc(room + 1)
        hpack_reader_init(&reader, &self.decoder, block, len(block))
        if line != NULL:
            result = 1
        while result > 0:
            result = hpack_read_field(&reader, line, room, &field)
            if result > 0:
                value = line + field.name_len + 2
                fields.append((line[: field.name_len], value[: field.value_len]))
        free(line)
        if result == HPACK_TOO_LARGE and hpack_read_rest(&reader) < 0:
            result = HPACK_BAD
        if result < 0:
            raise HpackError(ERROR_NAMES[result])
        return fields

    @property
    def entries(self):
        cdef const hpack_entry_t* entry
        cdef char text[HPACK_TABLE_BYTES]
        cdef list found = []
        cdef uint32_t i
        for i in range(self.decoder.count):
            entry = hpack_table_find(&self.decoder, HPACK_STATIC_COUNT + 1 + i)
            hpack_table_copy(&self.decoder, entry.offset, <uint32_t>entry.name_len + entry.value_len, text)
            value = text + entry.name_len
            found.append((text[: entry.name_len], value[: entry.value_len]))
        return found

    @property
    def size_bytes(self):
        return self.decoder.size_bytes

    @property
    def size_max_bytes(self):
        return self.decoder.size_max_bytes


def encode(list fields not None, frozenset sensitive=frozenset()):
    cdef char* out
    cdef char* at
    cdef size_t bound = 1
    cdef bytes name, value
    for name, value in fields:
        bound += hpack_field_bound(len(name), len(value))
    out = at = <char*>malloc(bound)
    if out == NULL:
        raise MemoryError
    for name, value in fields:
        at = hpack_write_field(at, name, len(name), value, len(value), name in sensitive)
    block = out[: at - out]
    free(out)
    return block
