"""Header compression for HTTP/2 (RFC 7541): integers, strings, the static table, the decoder's dynamic table.

Sans-IO. The decoder takes whole header blocks (after CONTINUATION frames are joined). The encoder keeps no dynamic
table: what it writes depends on nothing that was written before, so that heads may be written in any order and given
up, and a connection costs no memory for it.
"""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:                              # results below 0
    HPACK_BAD = -1                      # COMPRESSION_ERROR: the connection's compression state is lost
    HPACK_TOO_LARGE = -2                # the limit on the decoded size; the block was decoded to its end all the same
    HPACK_NO_MEMORY = -3

cdef enum:
    HPACK_TABLE_BYTES = 4096            # SETTINGS_HEADER_TABLE_SIZE that we announce (the default)

cdef struct hpack_entry_t:
    uint32_t offset                     # into hpack_decoder_t.text
    uint32_t name_len
    uint32_t value_len

cdef struct hpack_decoder_t:            # memory is taken when the first entry comes; hpack_decoder_free gives it back
    char* text
    hpack_entry_t* entries              # ring
    uint32_t text_cap
    uint32_t entry_cap
    uint32_t first                      # index in the ring of the oldest entry
    uint32_t count
    uint32_t size_bytes                 # as RFC 7541 4.1 counts it
    uint32_t size_max_bytes             # as the peer's last size update said; at most HPACK_TABLE_BYTES

# A decoded field, as the callback of hpack_decode sees it; name and value last until the callback returns.
cdef struct hpack_field_t:
    const char* name
    const char* value
    uint32_t name_len
    uint32_t value_len
    uint8_t static_index                # 1..61 when the name came from the static table, else 0
    uint8_t never_indexed

# Return 0 to go on; anything else stops delivering (decoding goes on, so that the table stays right).
ctypedef int (*hpack_field_fn)(void* owner, const hpack_field_t* field) noexcept nogil

cdef void hpack_decoder_init(hpack_decoder_t* decoder) noexcept nogil
cdef void hpack_decoder_free(hpack_decoder_t* decoder) noexcept nogil
# Decode a whole block. `scratch` is room for strings that are Huffman-coded; `decoded_max_bytes` bounds the sum of name
# and value lengths plus 32 each (SETTINGS_MAX_HEADER_LIST_SIZE counts so). 0, or HPACK_*.
cdef int hpack_decode(
    hpack_decoder_t* decoder,
    const char* block,
    size_t length,
    char* scratch,
    size_t scratch_cap,
    size_t decoded_max_bytes,
    hpack_field_fn on_field,
    void* owner,
) noexcept nogil

# ---- the encoder: each writes at `out` and returns the end of what it wrote

# Most bytes that hpack_write_field writes for such lengths.
cdef inline size_t hpack_field_bound(size_t name_len, size_t value_len) noexcept nogil:
    return name_len + value_len + 16

# An indexed field of the static table (1..61).
cdef char* hpack_write_indexed(char* out, uint8_t static_index) noexcept nogil
# A literal without indexing whose name is in the static table.
cdef char* hpack_write_named(char* out, uint8_t static_index, const char* value, size_t value_len) noexcept nogil
# A literal without indexing (`sensitive`: never indexed). The name is written in lower case whatever its case here;
# names and values of the static table are recognised.
cdef char* hpack_write_field(
    char* out, const char* name, size_t name_len, const char* value, size_t value_len, bint sensitive
) noexcept nogil
