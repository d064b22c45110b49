"""Header compression for HTTP/2 (RFC 7541): header blocks into fields, and fields into header blocks.

Sans-IO. A reader takes whole header blocks (after CONTINUATION frames are joined), a field at a time. The encoder keeps
no dynamic table: what it writes depends on nothing that was written before, so that heads may be written in any order
and given up, and a connection costs no memory for it.
"""

from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.hpack_table cimport (
    HPACK_TABLE_BYTES,
    hpack_decoder_free,
    hpack_decoder_init,
    hpack_decoder_t,
)

cdef enum hpack_error_t:                # results below 0
    HPACK_BAD = -1                      # COMPRESSION_ERROR: the connection's compression state is lost
    HPACK_TOO_LARGE = -2                # a field for which there is no room; the table is right all the same
    HPACK_NO_MEMORY = -3                # the table is lost as well

cdef struct hpack_reader_t:             # of one block
    hpack_decoder_t* decoder
    const uint8_t* at
    const uint8_t* end
    bint begun                          # a field has come: no size update may follow (RFC 7541 4.2)

cdef struct hpack_field_t:
    uint32_t name_len
    uint32_t value_len
    uint8_t static_index                # 1..61 when the name is known to be that of this entry of the static table
    bint never_indexed                  # RFC 7541 6.2.3

cdef void hpack_reader_init(
    hpack_reader_t* reader, hpack_decoder_t* decoder, const char* block, size_t length
) noexcept nogil
# The next field: written to `line` as "name: value" CR LF, whatever bytes name and value hold. 1, 0 at the end of the
# block, or hpack_error_t. After HPACK_TOO_LARGE the reader stands behind the field, and may go on.
cdef int hpack_read_field(hpack_reader_t* reader, char* line, size_t room, hpack_field_t* field) noexcept nogil
# Read what is left of the block for the sake of the table. 0, HPACK_BAD or HPACK_NO_MEMORY.
cdef int hpack_read_rest(hpack_reader_t* reader) noexcept nogil

# ---- the encoder: each writes at `out` and returns the end of what it wrote

# Most bytes that hpack_write_* writes for such lengths.
cdef inline size_t hpack_field_bound(size_t name_len, size_t value_len) noexcept nogil:
    return name_len + value_len + 16

# An indexed field of the static table (1..61).
cdef char* hpack_write_indexed(char* out, uint8_t static_index) noexcept nogil
# A literal without indexing (`sensitive`: never indexed) whose name is in the static table; _name leaves it to the
# caller to write the value.
cdef char* hpack_write_name(char* out, uint8_t static_index, size_t value_len, bint sensitive) noexcept nogil
cdef char* hpack_write_named(
    char* out, uint8_t static_index, const char* value, size_t value_len, bint sensitive
) noexcept nogil
# The same of any name, which is written in lower case whatever its case here; fields and names of the static table are
# recognised.
cdef char* hpack_write_field(
    char* out, const char* name, size_t name_len, const char* value, size_t value_len, bint sensitive
) noexcept nogil


cdef class Decoder:             # for Python
    cdef hpack_decoder_t decoder
