"""The static table, found by a perfect hash; and the dynamic table, a ring of entries over a ring of text."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strlen

from fastmesh._core.ascii cimport ascii_equal

cdef enum:
    ENTRIES_MAX = 128           # HPACK_TABLE_BYTES / HPACK_ENTRY_EXTRA_BYTES
    HASH_BITS = 7
    HASH_FACTOR = 0x31092A87    # found by trial: no two names of the static table hash alike

cdef hpack_static_t STATIC[HPACK_STATIC_COUNT + 1]
cdef uint8_t STATIC_BY_HASH[1 << HASH_BITS]
memset(STATIC, 0, sizeof(STATIC))
memset(STATIC_BY_HASH, 0, sizeof(STATIC_BY_HASH))

# RFC 7541 Appendix A, from index 1.
cdef tuple FIELDS = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)


cdef inline uint32_t hash_name(const char* name, size_t length) noexcept nogil:
    # Of the length and three letters, with the bit set that makes them small; the name has two letters or more.
    cdef uint32_t letters = (
        <uint32_t>(name[length - 1] | 32) | <uint32_t>(name[length // 2] | 32) << 8 | <uint32_t>(name[1] | 32) << 16
    )
    return ((letters | <uint32_t>length << 24) * <uint32_t>HASH_FACTOR) >> (32 - HASH_BITS)


cdef int make_static() except -1:
    cdef hpack_static_t* entry
    cdef uint8_t* place
    cdef int index
    for index in range(1, HPACK_STATIC_COUNT + 1):
        entry = &STATIC[index]
        # FIELDS keeps them alive.
        entry.name = <bytes>FIELDS[index - 1][0]
        entry.value = <bytes>FIELDS[index - 1][1]
        entry.name_len = <uint8_t>strlen(entry.name)
        entry.value_len = <uint8_t>strlen(entry.value)
        place = &STATIC_BY_HASH[hash_name(entry.name, entry.name_len)]
        if place[0] == 0:
            place[0] = index
        assert FIELDS[place[0] - 1][0] == FIELDS[index - 1][0]
    return 0


make_static()


cdef const hpack_static_t* hpack_static_entry(uint32_t index) noexcept nogil:
    return &STATIC[index]


cdef uint8_t hpack_static_find(const char* name, size_t length) noexcept nogil:
    cdef uint8_t index
    if length < 2:
        return 0
    index = STATIC_BY_HASH[hash_name(name, length)]
    if STATIC[index].name_len != length or not ascii_equal(name, STATIC[index].name, length):
        return 0
    return index


# --- the dynamic table

cdef void hpack_decoder_init(hpack_decoder_t* decoder) noexcept nogil:
    memset(decoder, 0, sizeof(hpack_decoder_t))
    decoder.size_max_bytes = HPACK_TABLE_BYTES


cdef void hpack_decoder_free(hpack_decoder_t* decoder) noexcept nogil:
    free(decoder.text)
    hpack_decoder_init(decoder)


cdef inline uint32_t entry_size(uint32_t name_len, uint32_t value_len) noexcept nogil:
    return name_len + value_len + HPACK_ENTRY_EXTRA_BYTES


cdef void evict_to(hpack_decoder_t* decoder, uint32_t size_bytes) noexcept nogil:
    cdef const hpack_entry_t* oldest
    while decoder.size_bytes > size_bytes:
        oldest = &decoder.entries[decoder.first]
        decoder.size_bytes -= entry_size(oldest.name_len, oldest.value_len)
        decoder.first = (decoder.first + 1) % ENTRIES_MAX
        decoder.count -= 1


cdef void hpack_table_clear(hpack_decoder_t* decoder) noexcept nogil:
    evict_to(decoder, 0)


cdef void hpack_table_resize(hpack_decoder_t* decoder, uint32_t size_max_bytes) noexcept nogil:
    decoder.size_max_bytes = size_max_bytes
    evict_to(decoder, size_max_bytes)


cdef void put_text(hpack_decoder_t* decoder, const char* piece, uint32_t length) noexcept nogil:
    cdef uint32_t straight = HPACK_TABLE_BYTES - decoder.text_end
    if straight > length:
        straight = length
    memcpy(decoder.text + decoder.text_end, piece, straight)
    memcpy(decoder.text, piece + straight, length - straight)
    decoder.text_end = (decoder.text_end + length) % HPACK_TABLE_BYTES


cdef int hpack_table_add(
    hpack_decoder_t* decoder, const char* name, size_t name_len, const char* value, size_t value_len,
    uint8_t static_index,
) noexcept nogil:
    cdef hpack_entry_t* entry
    cdef uint32_t size
    if name_len + value_len + HPACK_ENTRY_EXTRA_BYTES > decoder.size_max_bytes:
        hpack_table_clear(decoder)
        return 0
    if decoder.text == NULL:
        decoder.text = <char*>malloc(HPACK_TABLE_BYTES + ENTRIES_MAX * sizeof(hpack_entry_t))
        if decoder.text == NULL:
            return -1
        decoder.entries = <hpack_entry_t*>(decoder.text + HPACK_TABLE_BYTES)
    size = entry_size(<uint32_t>name_len, <uint32_t>value_len)
    evict_to(decoder, decoder.size_max_bytes - size)
    entry = &decoder.entries[(decoder.first + decoder.count) % ENTRIES_MAX]
    entry.offset = <uint16_t>decoder.text_end
    entry.name_len = <uint16_t>name_len
    entry.value_len = <uint16_t>value_len
    entry.static_index = static_index
    put_text(decoder, name, <uint32_t>name_len)
    put_text(decoder, value, <uint32_t>value_len)
    decoder.size_bytes += size
    decoder.count += 1
    return 0


cdef const hpack_entry_t* hpack_table_find(const hpack_decoder_t* decoder, uint32_t index) noexcept nogil:
    cdef uint32_t age = index - HPACK_STATIC_COUNT - 1
    if age >= decoder.count:
        return NULL
    return &decoder.entries[(decoder.first + decoder.count - 1 - age) % ENTRIES_MAX]


cdef void hpack_table_copy(
    const hpack_decoder_t* decoder, uint32_t offset, uint32_t length, char* out
) noexcept nogil:
    cdef uint32_t straight
    offset %= HPACK_TABLE_BYTES
    straight = HPACK_TABLE_BYTES - offset
    if straight > length:
        straight = length
    memcpy(out, decoder.text + offset, straight)
    memcpy(out + straight, decoder.text, length - straight)
