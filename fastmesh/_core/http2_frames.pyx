"""HTTP/2 frames: what may be wrong with one by itself, before any stream is looked at (RFC 9113 4.2, 6)."""

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

cdef enum:
    ANY_STREAM = 0
    NO_STREAM = 1                       # of the connection: stream 0
    ONE_STREAM = 2

# One row a frame type: where it may stand, and how long its payload must be.
cdef struct rule_t:
    uint8_t stream
    uint32_t shortest
    uint32_t longest

cdef enum:
    TYPES = 10

cdef rule_t RULES[TYPES]
RULES[HTTP2_DATA] = rule_t(ONE_STREAM, 0, HTTP2_FRAME_MAX_BYTES)
RULES[HTTP2_HEADERS] = rule_t(ONE_STREAM, 0, HTTP2_FRAME_MAX_BYTES)
RULES[HTTP2_PRIORITY] = rule_t(ONE_STREAM, 5, 5)
RULES[HTTP2_RST_STREAM] = rule_t(ONE_STREAM, 4, 4)
RULES[HTTP2_SETTINGS] = rule_t(NO_STREAM, 0, HTTP2_FRAME_MAX_BYTES)
RULES[HTTP2_PUSH_PROMISE] = rule_t(ONE_STREAM, 4, HTTP2_FRAME_MAX_BYTES)
RULES[HTTP2_PING] = rule_t(NO_STREAM, 8, 8)
RULES[HTTP2_GOAWAY] = rule_t(NO_STREAM, 8, HTTP2_FRAME_MAX_BYTES)
RULES[HTTP2_WINDOW_UPDATE] = rule_t(ANY_STREAM, 4, 4)
RULES[HTTP2_CONTINUATION] = rule_t(ONE_STREAM, 0, HTTP2_FRAME_MAX_BYTES)


cdef uint32_t http2_check_frame(const http2_frame_t* frame) noexcept nogil:
    cdef const rule_t* rule
    if frame.length > HTTP2_FRAME_MAX_BYTES:
        return HTTP2_FRAME_SIZE_ERROR
    if frame.type >= TYPES:
        return 0
    rule = &RULES[frame.type]
    if rule.stream == (ONE_STREAM if frame.stream_id == 0 else NO_STREAM):
        return HTTP2_PROTOCOL_ERROR
    if not rule.shortest <= frame.length <= rule.longest:
        # A stray PRIORITY harms no one else (RFC 9113 6.3); the others leave the two ends in doubt.
        return HTTP2_FRAME_SIZE_ERROR | (HTTP2_STREAM_ERROR if frame.type == HTTP2_PRIORITY else 0)
    if frame.type == HTTP2_SETTINGS:
        if frame.length % 6 or (frame.flags & HTTP2_ACK and frame.length):
            return HTTP2_FRAME_SIZE_ERROR
    return 0


cdef uint32_t http2_check_setting(uint16_t setting, uint32_t value) noexcept nogil:
    if setting == HTTP2_SETTING_PUSH or setting == HTTP2_SETTING_CONNECT:
        return HTTP2_PROTOCOL_ERROR if value > 1 else 0
    if setting == HTTP2_SETTING_WINDOW:
        return HTTP2_FLOW_CONTROL_ERROR if value > 0x7FFFFFFF else 0
    if setting == HTTP2_SETTING_FRAME_MAX:
        return 0 if HTTP2_FRAME_MAX_BYTES <= value <= 0xFFFFFF else HTTP2_PROTOCOL_ERROR
    return 0


cdef uint32_t http2_strip(
    const http2_frame_t* frame, const char* payload, const char** fragment, size_t* length
) noexcept nogil:
    cdef size_t before = 0
    cdef size_t behind = 0
    if frame.flags & HTTP2_PADDED:
        if frame.length == 0:
            return HTTP2_FRAME_SIZE_ERROR
        before = 1
        behind = <uint8_t>payload[0]
    if frame.type == HTTP2_HEADERS and frame.flags & HTTP2_PRIORITISED:
        before += 5
    if before > frame.length:
        return HTTP2_FRAME_SIZE_ERROR
    if before + behind > frame.length:
        return HTTP2_PROTOCOL_ERROR
    fragment[0] = payload + before
    length[0] = frame.length - before - behind
    return 0
