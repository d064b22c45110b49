"""HTTP/2 frames (RFC 9113 4, 6, 7): their heads, what may be wrong with one by itself, error codes. Sans-IO."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    HTTP2_FRAME_HEAD_BYTES = 9
    HTTP2_FRAME_MAX_BYTES = 16384       # of a payload: the default of SETTINGS_MAX_FRAME_SIZE, which any peer takes
    HTTP2_WINDOW_BYTES = 65535          # SETTINGS_INITIAL_WINDOW_SIZE until something else is said
    HTTP2_PREFACE_BYTES = 24

cdef enum:                              # frame types
    HTTP2_DATA = 0
    HTTP2_HEADERS = 1
    HTTP2_PRIORITY = 2
    HTTP2_RST_STREAM = 3
    HTTP2_SETTINGS = 4
    HTTP2_PUSH_PROMISE = 5
    HTTP2_PING = 6
    HTTP2_GOAWAY = 7
    HTTP2_WINDOW_UPDATE = 8
    HTTP2_CONTINUATION = 9

cdef enum:                              # flags
    HTTP2_END_STREAM = 1                # DATA, HEADERS
    HTTP2_ACK = 1                       # SETTINGS, PING
    HTTP2_END_HEADERS = 4
    HTTP2_PADDED = 8
    HTTP2_PRIORITISED = 32              # HEADERS begin with a priority

cdef enum:                              # error codes; fit 16 bits, and HTTP2_STREAM_ERROR may be added
    HTTP2_NO_ERROR = 0
    HTTP2_PROTOCOL_ERROR = 1
    HTTP2_INTERNAL_ERROR = 2
    HTTP2_FLOW_CONTROL_ERROR = 3
    HTTP2_SETTINGS_TIMEOUT = 4
    HTTP2_STREAM_CLOSED = 5
    HTTP2_FRAME_SIZE_ERROR = 6
    HTTP2_REFUSED_STREAM = 7
    HTTP2_CANCEL = 8
    HTTP2_COMPRESSION_ERROR = 9
    HTTP2_CONNECT_ERROR = 10
    HTTP2_ENHANCE_YOUR_CALM = 11
    HTTP2_STREAM_ERROR = 65536          # in what http2_check_frame returns: it ends one stream, not the connection

cdef enum:                              # settings
    HTTP2_SETTING_TABLE_SIZE = 1
    HTTP2_SETTING_PUSH = 2
    HTTP2_SETTING_STREAMS_MAX = 3
    HTTP2_SETTING_WINDOW = 4
    HTTP2_SETTING_FRAME_MAX = 5
    HTTP2_SETTING_HEAD_MAX = 6
    HTTP2_SETTING_CONNECT = 8           # RFC 8441

cdef struct http2_frame_t:
    uint32_t length                     # of the payload
    uint32_t stream_id
    uint8_t type
    uint8_t flags

cdef const char* HTTP2_PREFACE          # what a client sends first

# What is wrong with a frame, by its head alone: 0, an error code that ends the connection, or one that ends the stream
# (HTTP2_STREAM_ERROR added). Frames of unknown types are right.
cdef uint32_t http2_check_frame(const http2_frame_t* frame) noexcept nogil
# What is wrong with one setting: 0 or an error code (RFC 9113 6.5.2).
cdef uint32_t http2_check_setting(uint16_t setting, uint32_t value) noexcept nogil
# The fragment of a HEADERS payload or the data of a DATA payload, without padding and priority. 0, or PROTOCOL_ERROR.
cdef uint32_t http2_strip(
    const http2_frame_t* frame, const char* payload, const char** fragment, size_t* length
) noexcept nogil


cdef inline uint32_t http2_read_u32(const char* data) noexcept nogil:
    cdef const uint8_t* at = <const uint8_t*>data
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline uint16_t http2_read_u16(const char* data) noexcept nogil:
    cdef const uint8_t* at = <const uint8_t*>data
    return <uint16_t>(at[0] << 8 | at[1])


cdef inline void http2_write_u32(uint32_t value, char* out) noexcept nogil:
    out[0] = <char>(value >> 24)
    out[1] = <char>(value >> 16)
    out[2] = <char>(value >> 8)
    out[3] = <char>value


cdef inline void http2_read_frame(const char* data, http2_frame_t* frame) noexcept nogil:
    cdef const uint8_t* at = <const uint8_t*>data
    frame.length = <uint32_t>at[0] << 16 | <uint32_t>at[1] << 8 | at[2]
    frame.type = at[3]
    frame.flags = at[4]
    frame.stream_id = http2_read_u32(data + 5) & 0x7FFFFFFF


# Returns where the payload goes.
cdef inline char* http2_write_frame(
    char* out, uint32_t length, uint8_t type, uint8_t flags, uint32_t stream_id
) noexcept nogil:
    out[0] = <char>(length >> 16)
    out[1] = <char>(length >> 8)
    out[2] = <char>length
    out[3] = <char>type
    out[4] = <char>flags
    http2_write_u32(stream_id, out + 5)
    return out + HTTP2_FRAME_HEAD_BYTES


cdef inline char* http2_write_setting(char* out, uint16_t setting, uint32_t value) noexcept nogil:
    out[0] = <char>(setting >> 8)
    out[1] = <char>setting
    http2_write_u32(value, out + 2)
    return out + 6
