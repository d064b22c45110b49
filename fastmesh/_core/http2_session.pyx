"""One HTTP/2 connection of either side: frames in, and what they mean for its streams.

The phases of the input (http2_phase_t):

    IN_PREFACE -> AT_SETTINGS -> AT_FRAME
    AT_FRAME -> IN_DATA -> AT_FRAME                 bodies are delivered as they come, however long the frame
    AT_FRAME -> IN_BLOCK -> AT_FRAME                a header block in several frames

All other frames are looked at when they are whole.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.buffers cimport buffer_data, buffer_give, buffer_room, buffer_take
from fastmesh._core.connection cimport (
    READ_NOTHING,
    connection_is_blocked,
    connection_keep,
    connection_read,
    connection_set_deadline,
    connection_wake,
)
from fastmesh._core.hpack cimport hpack_decoder_free, hpack_decoder_init
from fastmesh._core.http2_bodies cimport (
    http2_body_begin,
    http2_body_piece,
    http2_credit_connection,
    http2_deliver_woken,
    http2_remote_end,
)
from fastmesh._core.http2_errors cimport (
    http2_cut_off,
    http2_fail,
    http2_fail_stream,
    http2_is_lost,
    http2_refuse_frame,
    http2_was_reset,
)
from fastmesh._core.http2_frames cimport (
    HTTP2_ACK,
    HTTP2_CANCEL,
    HTTP2_CONTINUATION,
    HTTP2_DATA,
    HTTP2_END_HEADERS,
    HTTP2_END_STREAM,
    HTTP2_ENHANCE_YOUR_CALM,
    HTTP2_FLOW_CONTROL_ERROR,
    HTTP2_FRAME_HEAD_BYTES,
    HTTP2_GOAWAY,
    HTTP2_HEADERS,
    HTTP2_INTERNAL_ERROR,
    HTTP2_PING,
    HTTP2_PREFACE,
    HTTP2_PREFACE_BYTES,
    HTTP2_PRIORITISED,
    HTTP2_PRIORITY,
    HTTP2_PROTOCOL_ERROR,
    HTTP2_PUSH_PROMISE,
    HTTP2_RST_STREAM,
    HTTP2_SETTING_CONNECT,
    HTTP2_SETTING_PUSH,
    HTTP2_SETTING_STREAMS_MAX,
    HTTP2_SETTING_TABLE_SIZE,
    HTTP2_SETTING_WINDOW,
    HTTP2_SETTINGS,
    HTTP2_SETTINGS_TIMEOUT,
    HTTP2_STREAM_CLOSED,
    HTTP2_STREAM_ERROR,
    HTTP2_WINDOW_BYTES,
    HTTP2_WINDOW_UPDATE,
    http2_check_frame,
    http2_check_setting,
    http2_frame_t,
    http2_read_frame,
    http2_read_u16,
    http2_read_u32,
    http2_strip,
)
from fastmesh._core.http2_guard cimport (
    HTTP2_BLOCK_FRAMES_MAX,
    HTTP2_BLOCK_MAX_BYTES,
    HTTP2_CONTROL_MAX_BYTES,
    http2_guard_count,
)
from fastmesh._core.http2_head cimport http2_read_trailers
from fastmesh._core.hpack cimport HPACK_TABLE_BYTES
from fastmesh._core.http2_output cimport (
    http2_pump,
    http2_send_ping,
    http2_send_settings_ack,
    http2_stream_reset,
)
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
    CONNECTION_OPEN,
    HTTP2_AT_FRAME,
    HTTP2_AT_SETTINGS,
    HTTP2_ATTACK_CONTINUATION,
    HTTP2_ATTACK_CONTROL,
    HTTP2_ATTACK_EMPTY,
    HTTP2_ATTACK_PING,
    HTTP2_ATTACK_PRIORITY,
    HTTP2_ATTACK_RESET,
    HTTP2_ATTACK_SETTINGS,
    HTTP2_ATTACK_STALL,
    HTTP2_ATTACK_UNKNOWN,
    HTTP2_ATTACK_WINDOW,
    HTTP2_HALF_REMOTE,
    HTTP2_IN_BLOCK,
    HTTP2_IN_DATA,
    HTTP2_IN_PREFACE,
    IO_READABLE,
    SESSION_HAS_SETTINGS,
    SESSION_IS_OVER,
    SESSION_SHRINKS_TABLE,
    SESSION_TAKES_CONNECT,
    STREAM_ENDS_INPUT,
    STREAM_HEAD_DONE,
    STREAM_IS_TUNNEL,
    STREAM_IS_WOKEN,
    buffer_t,
    exchange_t,
    worker_t,
)

cdef enum:
    READS_PER_TURN = 8
    SCRATCH_HEADERS = 1024
    SCRATCH_TEXT_BYTES = 262144
    UNREAD_MAX_BYTES = 262144           # of output, before a client that does not read is not listened to any more
    STALL_MS = 30000                    # without a byte taken of what is left of an answer
    WINDOW_MAX = 0x7FFFFFFF

# ---- birth, end


cdef http2_t* http2_session_new(connection_t* connection, const http2_role_t* role) noexcept nogil:
    cdef http2_t* http2 = <http2_t*>calloc(1, sizeof(http2_t))
    if http2 == NULL:
        return NULL
    http2.connection = connection
    http2.role = role
    hpack_decoder_init(&http2.decoder)
    http2.phase = HTTP2_IN_PREFACE if connection.is_downstream else HTTP2_AT_SETTINGS
    http2.send_window = HTTP2_WINDOW_BYTES
    http2.receive_window = HTTP2_WINDOW_BYTES
    http2.peer_window = HTTP2_WINDOW_BYTES
    connection.http2 = http2
    connection.flushes_late = 1
    return http2


cdef void http2_session_free(http2_t* http2) noexcept nogil:
    hpack_decoder_free(&http2.decoder)
    if http2.block != NULL:
        buffer_give(http2.connection.worker, http2.block)
    free(http2.buckets)
    free(http2)


cdef void http2_session_scratch(http2_t* http2, head_t* head, http2_head_limits_t* limits) noexcept nogil:
    memset(head, 0, sizeof(head_t))
    head.text = http2.connection.worker.scratch_text
    head.text_cap = SCRATCH_TEXT_BYTES
    head.headers = http2.connection.worker.scratch_headers
    head.capacity = SCRATCH_HEADERS
    limits.target_max_bytes = http2.target_max_bytes
    limits.head_max_bytes = http2.head_max_bytes
    limits.header_max_count = http2.header_max_count


# ---- input


cdef void http2_session_on_input(http2_t* http2) noexcept nogil:
    cdef connection_t* connection = http2.connection
    cdef char* data
    cdef uint64_t room
    cdef int64_t got
    cdef int _
    http2_deliver_woken(http2)
    http2_credit_connection(http2)
    if connection.input != NULL and listens(http2):
        data = buffer_data(connection.input) + connection.input.begin
        consume(http2, data, connection.input.end - connection.input.begin)
    for _ in range(READS_PER_TURN):
        if not connection.io & IO_READABLE or not listens(http2):
            return
        got = connection_read(connection, &data, &room)
        if got == READ_NOTHING:
            return
        if got < 0:
            connection.events.on_broken(connection, 0)
            return
        consume(http2, data, <size_t>got)
    connection_wake(connection)


cdef bint listens(http2_t* http2) noexcept nogil:
    """Bodies are held back by windows. But a client that reads no answers is not asked for more requests."""
    cdef connection_t* connection = http2.connection
    if connection.state != CONNECTION_OPEN or http2.flags & SESSION_IS_OVER:
        return False
    if not connection.is_downstream or connection.output_bytes < UNREAD_MAX_BYTES:
        return True
    if not connection_is_blocked(connection):
        return True
    if http2.stall_due_ms == 0:
        http2.stall_due_ms = connection.worker.now_ms + STALL_MS
        http2_session_arm(http2)
    return False


cdef void consume(http2_t* http2, char* data, size_t length) noexcept nogil:
    cdef connection_t* connection = http2.connection
    cdef size_t consumed = process(http2, data, length)
    if connection.state != CONNECTION_OPEN:
        return
    if http2.control_bytes > HTTP2_CONTROL_MAX_BYTES and connection.output_bytes > HTTP2_CONTROL_MAX_BYTES:
        if connection_is_blocked(connection):
            http2_cut_off(http2, HTTP2_ATTACK_CONTROL)
            return
        http2.control_bytes = 0
    http2_credit_connection(http2)
    if connection_keep(connection, data, consumed, length) < 0:
        http2_fail(http2, HTTP2_INTERNAL_ERROR, b"no memory")


cdef size_t process(http2_t* http2, const char* data, size_t length) noexcept nogil:
    """Turn bytes into events; how many were used up."""
    cdef size_t at = 0
    cdef size_t used
    while at < length:
        if http2.phase == HTTP2_IN_DATA:
            used = http2_body_piece(http2, data + at, length - at)
        elif http2.phase == HTTP2_IN_PREFACE:
            used = process_preface(http2, data + at, length - at)
        else:
            used = process_frame(http2, data + at, length - at)
        if http2.connection.state != CONNECTION_OPEN or http2.flags & SESSION_IS_OVER:
            return length
        if used == 0:
            return at
        at += used
    return at


cdef size_t process_preface(http2_t* http2, const char* data, size_t length) noexcept nogil:
    cdef size_t there = min(length, <size_t>HTTP2_PREFACE_BYTES)
    if memcmp(data, HTTP2_PREFACE, there) != 0:
        http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"no HTTP/2 preface")
        return length
    if length < HTTP2_PREFACE_BYTES:
        return 0
    http2.phase = HTTP2_AT_SETTINGS
    return HTTP2_PREFACE_BYTES


cdef size_t process_frame(http2_t* http2, const char* data, size_t length) noexcept nogil:
    cdef http2_frame_t frame
    cdef uint32_t error
    if length < HTTP2_FRAME_HEAD_BYTES:
        return 0
    http2_read_frame(data, &frame)
    error = http2_check_frame(&frame)
    if error == 0:
        error = check_order(http2, &frame)
    if error and not error & HTTP2_STREAM_ERROR:
        http2_fail(http2, error, b"frame")
        return length
    if frame.type == HTTP2_DATA:
        return http2_body_begin(http2, &frame, data, length)
    if length < HTTP2_FRAME_HEAD_BYTES + frame.length:
        return 0
    if error:
        http2_refuse_frame(http2, frame.stream_id, error & ~<uint32_t>HTTP2_STREAM_ERROR)
    else:
        handle(http2, &frame, data + HTTP2_FRAME_HEAD_BYTES)
    return HTTP2_FRAME_HEAD_BYTES + frame.length


cdef uint32_t check_order(const http2_t* http2, const http2_frame_t* frame) noexcept nogil:
    """A header block is not interrupted, and SETTINGS come first (RFC 9113 3.4, 4.3)."""
    if http2.phase == HTTP2_IN_BLOCK:
        if frame.type != HTTP2_CONTINUATION or frame.stream_id != http2.block_stream_id:
            return HTTP2_PROTOCOL_ERROR
    elif frame.type == HTTP2_CONTINUATION:
        return HTTP2_PROTOCOL_ERROR
    elif http2.phase == HTTP2_AT_SETTINGS:
        if frame.type != HTTP2_SETTINGS or frame.flags & HTTP2_ACK:
            return HTTP2_PROTOCOL_ERROR
    return 0


cdef void handle(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    if frame.type == HTTP2_HEADERS:
        on_headers(http2, frame, payload)
    elif frame.type == HTTP2_WINDOW_UPDATE:
        on_window_update(http2, frame.stream_id, http2_read_u32(payload) & WINDOW_MAX)
    elif frame.type == HTTP2_RST_STREAM:
        on_rst_stream(http2, frame.stream_id, http2_read_u32(payload))
    elif frame.type == HTTP2_CONTINUATION:
        on_continuation(http2, frame, payload)
    elif frame.type == HTTP2_SETTINGS:
        on_settings(http2, frame, payload)
    elif frame.type == HTTP2_PING:
        on_ping(http2, frame, payload)
    elif frame.type == HTTP2_GOAWAY:
        http2.role.on_goaway(http2, http2_read_u32(payload) & WINDOW_MAX, http2_read_u32(payload + 4))
    elif frame.type == HTTP2_PRIORITY:
        on_priority(http2, frame, payload)
    elif frame.type == HTTP2_PUSH_PROMISE:
        http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"PUSH_PROMISE")    # a client may not, and as one we said no
    elif http2_guard_count(http2, HTTP2_ATTACK_UNKNOWN):
        http2_cut_off(http2, HTTP2_ATTACK_UNKNOWN)


# ---- header blocks


cdef void on_headers(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    cdef const char* block = NULL
    cdef size_t length = 0
    cdef uint32_t error = http2_strip(frame, payload, &block, &length)
    if error == 0 and frame.stream_id % 2 == 0:
        error = HTTP2_PROTOCOL_ERROR
    if error:
        http2_fail(http2, error, b"HEADERS")
        return
    if length == 0 and http2_guard_count(http2, HTTP2_ATTACK_EMPTY):
        http2_cut_off(http2, HTTP2_ATTACK_EMPTY)
        return
    http2.block_stream_id = frame.stream_id
    http2.block_flags = frame.flags
    http2.block_is_circular = (
        frame.flags & HTTP2_PRIORITISED and http2_read_u32(block - 5) & WINDOW_MAX == frame.stream_id
    )
    if frame.flags & HTTP2_END_HEADERS:
        handle_block(http2, block, length)
        return
    http2.phase = HTTP2_IN_BLOCK
    http2.block_frames = 0
    http2.block_due_ms = http2.connection.worker.now_ms + http2.head_timeout_ms
    http2_session_arm(http2)
    add_to_block(http2, block, length)


cdef void on_continuation(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    cdef buffer_t* block
    http2.block_frames += 1
    if http2.block_frames > HTTP2_BLOCK_FRAMES_MAX:
        http2_cut_off(http2, HTTP2_ATTACK_CONTINUATION)
        return
    if not add_to_block(http2, payload, frame.length) or not frame.flags & HTTP2_END_HEADERS:
        return
    block = http2.block
    http2.block = NULL
    http2.block_due_ms = 0
    http2.phase = HTTP2_AT_FRAME
    handle_block(http2, buffer_data(block), block.end)
    buffer_give(http2.connection.worker, block)


cdef bint add_to_block(http2_t* http2, const char* data, size_t length) noexcept nogil:
    cdef worker_t* worker = http2.connection.worker
    cdef buffer_t* block = http2.block
    cdef size_t before = block.end if block != NULL else 0
    if before + length > HTTP2_BLOCK_MAX_BYTES:
        http2_cut_off(http2, HTTP2_ATTACK_CONTINUATION)
        return False
    if block == NULL or buffer_room(block) < length:
        http2.block = buffer_take(worker, max(before + length, <size_t>1))
        if http2.block != NULL and block != NULL:
            memcpy(buffer_data(http2.block), buffer_data(block), before)
        if block != NULL:
            buffer_give(worker, block)
        if http2.block == NULL:
            http2_fail(http2, HTTP2_INTERNAL_ERROR, b"no memory")
            return False
        block = http2.block
    memcpy(buffer_data(block) + before, data, length)
    block.end = <uint32_t>(before + length)
    return True


cdef void handle_block(http2_t* http2, const char* block, size_t length) noexcept nogil:
    cdef uint32_t stream_id = http2.block_stream_id
    cdef bint is_end = http2.block_flags & HTTP2_END_STREAM
    cdef http2_stream_t* stream = http2_stream_find(http2, stream_id)
    if stream == NULL:
        if stream_id > http2.last_stream_id and http2.connection.is_downstream:
            http2.last_stream_id = stream_id
            http2.role.on_head(http2, NULL, stream_id, block, length, is_end)
        elif stream_id > http2.last_stream_id:
            http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"HEADERS on a stream that has not begun")
        elif not skip_block(http2, block, length) and http2.connection.is_downstream:
            on_late_headers(http2, stream_id)
    elif stream.flags & STREAM_ENDS_INPUT or stream.state >= HTTP2_HALF_REMOTE:
        if not skip_block(http2, block, length):
            http2_fail_stream(stream, HTTP2_STREAM_CLOSED, b"HEADERS behind END_STREAM")
    elif not http2.connection.is_downstream and not stream.flags & STREAM_HEAD_DONE:
        http2.role.on_head(http2, stream, stream_id, block, length, is_end)
    else:
        on_trailers(stream, block, length, is_end)
    if http2.block_is_circular and not http2.flags & SESSION_IS_OVER:
        stream = http2_stream_find(http2, stream_id)
        if stream != NULL:
            http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"a stream that depends on itself")


cdef bint skip_block(http2_t* http2, const char* block, size_t length) noexcept nogil:
    """Read it for the sake of the table only. True: that was the end."""
    cdef head_t head
    cdef http2_head_limits_t limits
    cdef const char* detail = b""
    http2_session_scratch(http2, &head, &limits)
    return http2_is_lost(http2, http2_read_trailers(&http2.decoder, block, length, &limits, &head, &detail))


cdef void on_late_headers(http2_t* http2, uint32_t stream_id) noexcept nogil:
    if not http2_was_reset(http2, stream_id):
        http2_fail(http2, HTTP2_STREAM_CLOSED, b"HEADERS on a stream that has ended")


cdef void on_trailers(http2_stream_t* stream, const char* block, size_t length, bint is_end) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef head_t trailers
    cdef http2_head_limits_t limits
    cdef const char* detail = b""
    cdef int result
    http2_session_scratch(http2, &trailers, &limits)
    result = http2_read_trailers(&http2.decoder, block, length, &limits, &trailers, &detail)
    if http2_is_lost(http2, result):
        return
    if result < 0 or not is_end or stream.flags & STREAM_IS_TUNNEL:
        http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"trailers")
        return
    http2_remote_end(stream, &trailers)


# ---- control frames


cdef void on_settings(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    cdef uint32_t error = 0
    cdef uint32_t at = 0
    if frame.flags & HTTP2_ACK:
        return
    if http2_guard_count(http2, HTTP2_ATTACK_SETTINGS):
        http2_cut_off(http2, HTTP2_ATTACK_SETTINGS)
        return
    while at < frame.length and error == 0:
        error = apply_setting(http2, http2_read_u16(payload + at), http2_read_u32(payload + at + 2))
        at += 6
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


cdef uint32_t apply_setting(http2_t* http2, uint16_t setting, uint32_t value) noexcept nogil:
    cdef uint32_t error = http2_check_setting(setting, value)
    if error:
        return error
    if setting == HTTP2_SETTING_WINDOW:
        return move_windows(http2, value)
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


cdef void on_ping(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    if frame.flags & HTTP2_ACK:
        if http2.waits_for_pong:
            http2.waits_for_pong = 0
            http2.role.on_ping_ack(http2)
        return
    if http2_guard_count(http2, HTTP2_ATTACK_PING):
        http2_cut_off(http2, HTTP2_ATTACK_PING)
        return
    http2_send_ping(http2, payload, True)


cdef void on_priority(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
    """Priorities are not followed (RFC 9113 5.3.2), but they are counted."""
    if http2_guard_count(http2, HTTP2_ATTACK_PRIORITY):
        http2_cut_off(http2, HTTP2_ATTACK_PRIORITY)
    elif http2_read_u32(payload) & WINDOW_MAX == frame.stream_id:
        http2_refuse_frame(http2, frame.stream_id, HTTP2_PROTOCOL_ERROR)


cdef inline bint is_idle(const http2_t* http2, uint32_t stream_id) noexcept nogil:
    return stream_id > http2.last_stream_id or stream_id % 2 == 0


cdef void on_rst_stream(http2_t* http2, uint32_t stream_id, uint32_t code) noexcept nogil:
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


cdef void on_window_update(http2_t* http2, uint32_t stream_id, uint32_t increment) noexcept nogil:
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


# ---- what waits


cdef void http2_session_resume(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    if stream.input == NULL and not stream.flags & STREAM_ENDS_INPUT:
        return
    if not stream.flags & STREAM_IS_WOKEN:
        stream.flags |= STREAM_IS_WOKEN
        stream.next_woken = http2.woken
        http2.woken = stream
    connection_wake(http2.connection)


cdef void http2_session_leave_output(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    stream.activity_ms = http2.connection.worker.now_ms
    if http2.stall_due_ms == 0:
        http2.stall_due_ms = stream.activity_ms + STALL_MS
        http2_session_arm(http2)


# ---- deadlines


cdef inline uint64_t sooner(uint64_t one, uint64_t other) noexcept nogil:
    """0: never."""
    return one if other == 0 or (one and one < other) else other


cdef void http2_session_arm(http2_t* http2) noexcept nogil:
    cdef uint64_t due_ms = sooner(sooner(http2.quiet_due_ms, http2.block_due_ms), http2.stall_due_ms)
    due_ms = sooner(due_ms, sooner(http2.age_due_ms, http2.grace_due_ms))
    connection_set_deadline(http2.connection, due_ms)


cdef void http2_session_on_deadline(http2_t* http2) noexcept nogil:
    cdef uint64_t now_ms = http2.connection.worker.now_ms
    if http2.block_due_ms and http2.block_due_ms <= now_ms:
        if http2.phase == HTTP2_IN_BLOCK:
            http2_fail(http2, HTTP2_ENHANCE_YOUR_CALM, b"a header block that does not end")
        else:
            http2_fail(http2, HTTP2_SETTINGS_TIMEOUT, b"no SETTINGS")
    elif http2.stall_due_ms and http2.stall_due_ms <= now_ms:
        reset_stalled(http2)


cdef void reset_stalled(http2_t* http2) noexcept nogil:
    """What is left of answers goes nowhere when nobody opens a window or reads: no exchange looks after it any more."""
    cdef http2_stream_t* stream
    cdef http2_stream_t* next
    cdef uint64_t now_ms = http2.connection.worker.now_ms
    cdef uint64_t due_ms = 0
    cdef bint was_stalled = False
    cdef uint32_t i
    http2.stall_due_ms = 0
    if http2.connection.output_bytes >= UNREAD_MAX_BYTES and connection_is_blocked(http2.connection):
        http2_cut_off(http2, HTTP2_ATTACK_STALL)
        return
    for i in range(http2.bucket_count):
        stream = http2.buckets[i] if http2.stream_count else NULL     # with the last one the table goes
        while stream != NULL:
            next = stream.next
            if stream.exchange == NULL and stream.output != NULL:
                if stream.activity_ms + STALL_MS > now_ms:
                    due_ms = sooner(due_ms, stream.activity_ms + STALL_MS)
                else:
                    was_stalled = True
                    http2_stream_reset(stream, HTTP2_CANCEL)
            stream = next
    if was_stalled:
        http2.connection.worker.stats.http2_attacks[HTTP2_ATTACK_STALL] += 1
    http2.stall_due_ms = due_ms
