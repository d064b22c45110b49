"""The head of a request or a response, in a form that knows no codec.

A head is a text and a table of header fields that point into it by offset, so it can be moved with two copies. Codecs
fill it from bytes (http1_parser) and write it to bytes (http1_writer); filters only drop and append fields.

Ownership: whoever makes a head_t owns `text` and `headers`; these functions never allocate.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum header_id_t:
    HEADER_OTHER = 0
    HEADER_HOST
    HEADER_CONNECTION
    HEADER_CONTENT_LENGTH
    HEADER_TRANSFER_ENCODING
    HEADER_TE
    HEADER_TRAILER
    HEADER_UPGRADE
    HEADER_EXPECT
    HEADER_KEEP_ALIVE
    HEADER_PROXY_CONNECTION
    HEADER_PROXY_AUTHENTICATE
    HEADER_PROXY_AUTHORIZATION
    HEADER_X_FORWARDED_FOR
    HEADER_X_FORWARDED_PROTO
    HEADER_X_FORWARDED_HOST
    HEADER_X_REQUEST_ID
    HEADER_VIA
    HEADER_COOKIE
    HEADER_ACCEPT
    HEADER_USER_AGENT
    HEADER_CONTENT_TYPE
    HEADER_HTTP2_SETTINGS
    HEADER_MAX_FORWARDS
    HEADER_X_FORWARDED_CLIENT_CERT

cdef enum header_flag_t:
    HEADER_DROPPED = 1      # stays in the table, is not written
    # What is known of a field's text, so that nobody need look again. Unset: not known.
    HEADER_IS_LINE = 2      # stands there as it is written: name, ": ", value, CR LF
    HEADER_PLAIN_NAME = 4   # the name holds letters, digits, "-", "." only

cdef enum method_id_t:
    METHOD_OTHER = 0
    METHOD_GET
    METHOD_HEAD
    METHOD_POST
    METHOD_PUT
    METHOD_DELETE
    METHOD_PATCH
    METHOD_OPTIONS
    METHOD_CONNECT
    METHOD_TRACE

cdef enum framing_t:
    FRAMING_NONE = 0        # no body
    FRAMING_LENGTH = 1      # content_length bytes
    FRAMING_CHUNKED = 2
    FRAMING_CLOSE = 3       # responses only: until the connection ends

cdef enum head_flag_t:
    HEAD_KEEP_ALIVE = 1         # the sender will keep this connection
    HEAD_EXPECT_CONTINUE = 2
    HEAD_UPGRADE = 4            # Connection names upgrade, and Upgrade is there
    HEAD_ABSOLUTE_FORM = 8      # the target was an absolute URI (authority then comes from it, RFC 9112 3.2.2)
    HEAD_ASTERISK_FORM = 16     # the target was *

cdef struct header_t:           # 16 bytes
    uint32_t name_off           # into head_t.text
    uint32_t value_off
    uint32_t value_len
    uint16_t name_len
    uint8_t id                  # header_id_t
    uint8_t flags               # header_flag_t

cdef enum:                      # parts of an identity: snapshot.IdentityPart
    IDENTITY_URI = 0
    IDENTITY_DNS = 1
    IDENTITY_SUBJECT = 2
    IDENTITY_PARTS = 3

cdef struct identity_t:         # who the sender of a head has proven to be
    const char* parts[3]        # NULL: it has no such part
    uint32_t lengths[3]

cdef struct head_t:
    char* text
    header_t* headers
    uint32_t text_len           # bytes used
    uint32_t text_cap           # bytes there; 0: text is borrowed, nothing can be appended
    uint16_t count
    uint16_t capacity
    uint8_t method_id           # request
    uint8_t version_minor       # HTTP/1.x
    uint8_t framing             # framing_t
    uint8_t flags               # head_flag_t
    uint16_t status             # response
    uint32_t method_off
    uint32_t method_len
    uint32_t authority_off      # Host, or from an absolute-form target; may hold a port
    uint32_t authority_len
    uint32_t path_off           # path without query; "*" for asterisk-form; authority for CONNECT
    uint32_t path_len
    uint32_t query_off          # without "?"; length 0 when there is none
    uint32_t query_len
    uint32_t target_off         # origin-form (path and query) as it is sent on
    uint32_t target_len
    uint32_t reason_off         # response: reason phrase
    uint32_t reason_len
    uint64_t content_length     # valid with FRAMING_LENGTH
    const identity_t* identity  # borrowed while routes are matched; NULL: unknown

# memcpy for what is mostly short: a few moves instead of a call.
cdef inline void copy_short(char* out, const char* data, size_t length) noexcept nogil:
    if length > 32:
        memcpy(out, data, length)
    elif length >= 16:
        memcpy(out, data, 16)
        memcpy(out + length - 16, data + length - 16, 16)
    elif length >= 8:
        memcpy(out, data, 8)
        memcpy(out + length - 8, data + length - 8, 8)
    elif length >= 4:
        memcpy(out, data, 4)
        memcpy(out + length - 4, data + length - 4, 4)
    elif length:
        out[0] = data[0]
        out[length >> 1] = data[length >> 1]
        out[length - 1] = data[length - 1]


# The id of a known header name in any case, else HEADER_OTHER.
cdef uint8_t header_identify(const char* name, size_t length) noexcept nogil
# The id of a known name that this one becomes where "_" and "-" are the same (CGI, WSGI), else HEADER_OTHER.
cdef uint8_t header_identify_underscored(const char* name, size_t length) noexcept nogil
# The first field that is not dropped, or NULL. `lowered` is a name in lower case.
cdef header_t* headers_find(head_t* head, uint8_t header_id) noexcept nogil
cdef header_t* headers_find_name(head_t* head, const char* lowered, size_t length) noexcept nogil
# Append a field by copying name and value behind the text. -1 when there is no room (the head is then unchanged).
cdef inline int headers_append(
    head_t* head, uint8_t header_id, const char* name, size_t name_len, const char* value, size_t value_len
) noexcept nogil:
    cdef header_t* header
    cdef char* at
    cdef size_t line_len = name_len + value_len + 4
    if head.count >= head.capacity or line_len > head.text_cap or head.text_len > head.text_cap - line_len:
        return -1
    header = &head.headers[head.count]
    header.name_off = head.text_len
    header.name_len = <uint16_t>name_len
    header.value_off = <uint32_t>(head.text_len + name_len + 2)
    header.value_len = <uint32_t>value_len
    header.id = header_id
    header.flags = HEADER_IS_LINE
    at = head.text + head.text_len
    memcpy(at, name, name_len)
    memcpy(at + name_len, b": ", 2)
    copy_short(at + name_len + 2, value, value_len)
    memcpy(at + name_len + 2 + value_len, b"\r\n", 2)
    head.text_len += <uint32_t>line_len
    head.count += 1
    return 0


# The same in pieces, for a value that is put together: open, extend as often as needed, close. -1 when there is no
# room; what was opened and not closed leaves no trace. An appended field stands as a line: "name: value" CR LF.
cdef int headers_append_open(head_t* head, uint8_t header_id, const char* name, size_t name_len) noexcept nogil
cdef int headers_append_extend(head_t* head, const char* piece, size_t length) noexcept nogil
cdef int headers_append_close(head_t* head) noexcept nogil
cdef void headers_drop(head_t* head, uint8_t header_id) noexcept nogil
# Copy the text and table of `source` into memory owned by the caller. -1 when it does not fit.
cdef int head_copy(
    head_t* target, const head_t* source, char* text, uint32_t text_cap, header_t* headers, uint16_t capacity
) noexcept nogil
# The value of a cookie; its length is written to `found_len`; NULL when there is none.
cdef const char* head_cookie(head_t* head, const char* name, size_t name_len, size_t* found_len) noexcept nogil

cdef class Head:                # a head_t that owns its memory, for Python
    cdef head_t head
    cdef bytes slice(self, uint32_t offset, uint32_t length)

cdef Head head_to_python(const head_t* source, size_t text_room, uint16_t field_room)
