"""The tables of HPACK (RFC 7541 2.3): the static one, and a decoder's dynamic one. Sans-IO.

An index of 1 to HPACK_STATIC_COUNT is of the static table, those above count the dynamic table from its newest entry.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    HPACK_STATIC_COUNT = 61
    HPACK_TABLE_BYTES = 4096            # SETTINGS_HEADER_TABLE_SIZE that we announce (the default)
    HPACK_ENTRY_EXTRA_BYTES = 32        # what an entry counts besides its text (RFC 7541 4.1)

cdef struct hpack_static_t:
    const char* name
    const char* value
    uint8_t name_len
    uint8_t value_len

cdef struct hpack_entry_t:
    uint16_t offset                     # into hpack_decoder_t.text, which is a ring: the value follows the name
    uint16_t name_len
    uint16_t value_len
    uint8_t static_index                # of a field of the static table with this name, or 0

cdef struct hpack_decoder_t:            # memory is taken when the first entry comes; hpack_decoder_free gives it back
    char* text                          # HPACK_TABLE_BYTES; the entries stand behind
    hpack_entry_t* entries              # ring
    uint32_t first                      # index in the ring of the oldest entry
    uint32_t count
    uint32_t text_end                   # where the text of the next entry begins, in the ring
    uint32_t size_bytes                 # as RFC 7541 4.1 counts it
    uint32_t size_max_bytes             # as the peer's last size update said; at most HPACK_TABLE_BYTES

cdef void hpack_decoder_init(hpack_decoder_t* decoder) noexcept nogil
cdef void hpack_decoder_free(hpack_decoder_t* decoder) noexcept nogil
# A size update (RFC 7541 4.3); `size_max_bytes` is at most HPACK_TABLE_BYTES.
cdef void hpack_table_resize(hpack_decoder_t* decoder, uint32_t size_max_bytes) noexcept nogil
# Add an entry, and evict for it (RFC 7541 4.4). The text must not be in the table. -1: no memory.
cdef int hpack_table_add(
    hpack_decoder_t* decoder, const char* name, size_t name_len, const char* value, size_t value_len,
    uint8_t static_index,
) noexcept nogil
# What a field that is larger than the whole table does: it leaves the table empty.
cdef void hpack_table_clear(hpack_decoder_t* decoder) noexcept nogil
# The entry of an index above HPACK_STATIC_COUNT, or NULL.
cdef const hpack_entry_t* hpack_table_find(const hpack_decoder_t* decoder, uint32_t index) noexcept nogil
cdef void hpack_table_copy(
    const hpack_decoder_t* decoder, uint32_t offset, uint32_t length, char* out
) noexcept nogil

# The entry of an index of 1 to HPACK_STATIC_COUNT.
cdef const hpack_static_t* hpack_static_entry(uint32_t index) noexcept nogil
# The lowest index with this name, in any case, or 0.
cdef uint8_t hpack_static_find(const char* name, size_t length) noexcept nogil
