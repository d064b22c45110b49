"""Control frames of an HTTP/2 connection."""

from libc.stdint cimport int64_t, uint16_t

from fastmesh._core.hpack cimport HPACK_TABLE_BYTES
from fastmesh._core.http2_errors cimport http2_cut_off, http2_fail, http2_fail_stream, http2_refuse_frame
from fastmesh._core.http2_frames cimport (
    HTTP2_ACK,
    HTTP2_FLOW_CONTROL_ERROR,
    HTTP2_PROTOCOL_ERROR,
    HTTP2_SETTING_CONNECT,
    HTTP2_SETTING_PUSH,
    HTTP2_SETTING_STREAMS_MAX,
    HTTP2_SETTING_TABLE_SIZE,
    HTTP2_SETTING_WINDOW,
    http2_check_setting,
    http2_read_u16,
    http2_read_u32,
)
from fastmesh._core.http2_guard cimport http2_guard_count
from fastmesh._core.http2_output cimport http2_pump, http2_send_ping, http2_send_settings_ack
from fastmesh._core.http2_streams cimport (
    STREAM_LOCAL_ENDS,
    STREAM_RESETS,
    http2_chain_free,
    http2_stop_waiting,
    http2_stream_change,
    http2_stream_find,
    http2_wait,
)
from fastmesh._core.live cimport (
    HTTP2_ATTACK_PING,
    HTTP2_ATTACK_PRIORITY,
    HTTP2_ATTACK_RESET,
    HTTP2_ATTACK_SETTINGS,
    HTTP2_ATTACK_WINDOW,
    HTTP2_AT_FRAME,
    HTTP2_AT_SETTINGS,
    SESSION_HAS_SETTINGS,
    SESSION_SHRINKS_TABLE,
    SESSION_TAKES_CONNECT,
    STREAM_ENDS_INPUT,
    STREAM_IS_TUNNEL,
    exchange_t,
    http2_stream_t,
)

cdef enum:
    WINDOW_MAX = 0x7FFFFFFF


cdef void http2_on_settings(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    cdef uint32_t window = http2.peer_window
    cdef uint32_t error = 0
    cdef uint32_t at = 0
    if frame.flags & HTTP2_ACK:
        return
    if http2_guard_count(http2, HTTP2_ATTACK_SETTINGS):
        http2_cut_off(http2, HTTP2_ATTACK_SETTINGS)
        return
    while at < frame.length and error == 0:
        error = apply_setting(http2, http2_read_u16(payload + at), http2_read_u32(payload + at + 2), &window)
        at += 6
    if error == 0 and window != http2.peer_window:
        error = move_windows(http2, window)
    if error:
        http2_fail(http2, error, b"SETTINGS")
        return
    if http2.phase == HTTP2_AT_SETTINGS:
        http2.phase = HTTP2_AT_FRAME
        http2.block_due_ms = 0
    http2.flags |= SESSION_HAS_SETTINGS
    http2_send_settings_ack(http2)
    http2.role.on_settings(http2)
    http2_pump(http2)


cdef uint32_t apply_setting(http2_t* http2, uint16_t setting, uint32_t value, uint32_t* window) noexcept nogil:
    cdef uint32_t error = http2_check_setting(setting, value)
    if error:
        return error
    if setting == HTTP2_SETTING_WINDOW:
        window[0] = value               # the last one counts: moving the windows of all streams is work
        return 0
    if setting == HTTP2_SETTING_TABLE_SIZE:
        if value < HPACK_TABLE_BYTES:
            http2.flags |= SESSION_SHRINKS_TABLE
    elif http2.connection.is_downstream:
        return 0                        # the rest is what servers say
    elif setting == HTTP2_SETTING_STREAMS_MAX:
        http2.streams_max = value
    elif setting == HTTP2_SETTING_CONNECT:
        http2.flags |= SESSION_TAKES_CONNECT if value else 0
    elif setting == HTTP2_SETTING_PUSH and value:
        return HTTP2_PROTOCOL_ERROR
    return 0


cdef uint32_t move_windows(http2_t* http2, uint32_t value) noexcept nogil:
    """A new initial window moves those of all streams by the difference (RFC 9113 6.9.2)."""
    cdef int64_t difference = <int64_t>value - <int64_t>http2.peer_window
    cdef http2_stream_t* stream
    cdef uint32_t i
    http2.peer_window = value
    for i in range(http2.bucket_count):
        stream = http2.buckets[i]
        while stream != NULL:
            stream.send_window += difference
            if stream.send_window > WINDOW_MAX:
                return HTTP2_FLOW_CONTROL_ERROR
            if stream.send_window > 0 and stream.output != NULL:
                http2_wait(stream)
            stream = stream.next
    return 0


cdef void http2_on_ping(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    if frame.flags & HTTP2_ACK:
        if http2.waits_for_pong:
            http2.waits_for_pong = 0
            http2.role.on_ping_ack(http2)
        return
    if http2_guard_count(http2, HTTP2_ATTACK_PING):
        http2_cut_off(http2, HTTP2_ATTACK_PING)
        return
    http2_send_ping(http2, payload, True)


cdef void http2_on_priority(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    """Priorities are not followed (RFC 9113 5.3.2), but they are counted."""
    if http2_guard_count(http2, HTTP2_ATTACK_PRIORITY):
        http2_cut_off(http2, HTTP2_ATTACK_PRIORITY)
    elif http2_read_u32(payload) & WINDOW_MAX == frame.stream_id:
        http2_refuse_frame(http2, frame.stream_id, HTTP2_PROTOCOL_ERROR)


cdef inline bint is_idle(const http2_t* http2, uint32_t stream_id) noexcept nogil:
    return stream_id > http2.last_stream_id or stream_id % 2 == 0


cdef void http2_on_rst_stream(http2_t* http2, uint32_t stream_id, uint32_t code) noexcept nogil:
    cdef http2_stream_t* stream = http2_stream_find(http2, stream_id)
    cdef exchange_t* exchange
    if is_idle(http2, stream_id):
        http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"RST_STREAM on a stream that has not begun")
        return
    if http2_guard_count(http2, HTTP2_ATTACK_RESET):
        http2_cut_off(http2, HTTP2_ATTACK_RESET)
        return
    if stream == NULL:
        return
    if not http2.connection.is_downstream and stream.flags & STREAM_ENDS_INPUT and not stream.flags & STREAM_IS_TUNNEL:
        # The response is whole; the endpoint only does not want the rest of the request (RFC 9113 8.1).
        http2_stop_waiting(stream)
        http2_chain_free(http2.connection.worker, &stream.output, &stream.output_last)
        http2_stream_change(stream, STREAM_LOCAL_ENDS)
        return
    exchange = stream.exchange
    http2_stream_change(stream, STREAM_RESETS)
    if exchange != NULL:
        http2.role.on_reset(http2, exchange, code, True, b"the endpoint reset the stream")


cdef void http2_on_window_update(http2_t* http2, uint32_t stream_id, uint32_t increment) noexcept nogil:
    cdef http2_stream_t* stream
    if http2_guard_count(http2, HTTP2_ATTACK_WINDOW):
        http2_cut_off(http2, HTTP2_ATTACK_WINDOW)
        return
    if stream_id == 0:
        http2.send_window += increment
        if increment == 0 or http2.send_window > WINDOW_MAX:
            http2_fail(http2, HTTP2_FLOW_CONTROL_ERROR if increment else HTTP2_PROTOCOL_ERROR, b"WINDOW_UPDATE")
            return
        http2_pump(http2)
        return
    if is_idle(http2, stream_id):
        http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"WINDOW_UPDATE on a stream that has not begun")
        return
    stream = http2_stream_find(http2, stream_id)
    if stream == NULL:
        return
    stream.send_window += increment
    if increment == 0 or stream.send_window > WINDOW_MAX:
        http2_fail_stream(stream, HTTP2_FLOW_CONTROL_ERROR if increment else HTTP2_PROTOCOL_ERROR, b"WINDOW_UPDATE")
    elif stream.output != NULL and stream.send_window > 0:
        http2_wait(stream)
        http2_pump(http2)
