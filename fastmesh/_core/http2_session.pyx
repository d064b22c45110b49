"""One HTTP/2 connection of either side: frames in, and what they mean for its streams.

The phases of the input (http2_phase_t):

    IN_PREFACE -> AT_SETTINGS -> AT_FRAME
    AT_FRAME -> IN_DATA -> AT_FRAME                 bodies are delivered as they come, however long the frame
    AT_FRAME -> IN_BLOCK -> AT_FRAME                a header block in several frames

All other frames are looked at when they are whole.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from fastmesh._core.buffers cimport buffer_data, buffer_give
from fastmesh._core.connection cimport (
    READ_NOTHING,
    connection_is_blocked,
    connection_keep,
    connection_read,
    connection_wake,
)
from fastmesh._core.hpack cimport hpack_decoder_free, hpack_decoder_init
from fastmesh._core.http2_blocks cimport http2_on_continuation, http2_on_headers
from fastmesh._core.http2_bodies cimport (
    http2_body_begin,
    http2_body_piece,
    http2_credit_connection,
    http2_deliver_woken,
)
from fastmesh._core.http2_control cimport (
    http2_on_ping,
    http2_on_priority,
    http2_on_rst_stream,
    http2_on_settings,
    http2_on_window_update,
)
from fastmesh._core.http2_deadlines cimport HTTP2_UNREAD_MAX_BYTES, http2_await_reader
from fastmesh._core.http2_errors cimport http2_cut_off, http2_fail, http2_refuse_frame
from fastmesh._core.http2_frames cimport (
    HTTP2_ACK,
    HTTP2_CONTINUATION,
    HTTP2_DATA,
    HTTP2_FRAME_HEAD_BYTES,
    HTTP2_GOAWAY,
    HTTP2_HEADERS,
    HTTP2_INTERNAL_ERROR,
    HTTP2_PING,
    HTTP2_PREFACE,
    HTTP2_PREFACE_BYTES,
    HTTP2_PRIORITY,
    HTTP2_PROTOCOL_ERROR,
    HTTP2_PUSH_PROMISE,
    HTTP2_RST_STREAM,
    HTTP2_SETTINGS,
    HTTP2_STREAM_ERROR,
    HTTP2_WINDOW_BYTES,
    HTTP2_WINDOW_UPDATE,
    http2_check_frame,
    http2_frame_t,
    http2_read_frame,
    http2_read_u32,
)
from fastmesh._core.http2_guard cimport HTTP2_CONTROL_MAX_BYTES, http2_guard_count
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    HTTP2_ATTACK_CONTROL,
    HTTP2_ATTACK_UNKNOWN,
    HTTP2_AT_SETTINGS,
    HTTP2_IN_BLOCK,
    HTTP2_IN_DATA,
    HTTP2_IN_PREFACE,
    IO_READABLE,
    SESSION_IS_OVER,
    STREAM_ENDS_INPUT,
    STREAM_IS_WOKEN,
)

cdef enum:
    READS_PER_TURN = 8
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
    if not connection.is_downstream or connection.output_bytes < HTTP2_UNREAD_MAX_BYTES:
        return True
    if not connection_is_blocked(connection):
        return True
    http2_await_reader(http2)
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
        http2_on_headers(http2, frame, payload)
    elif frame.type == HTTP2_WINDOW_UPDATE:
        http2_on_window_update(http2, frame.stream_id, http2_read_u32(payload) & WINDOW_MAX)
    elif frame.type == HTTP2_RST_STREAM:
        http2_on_rst_stream(http2, frame.stream_id, http2_read_u32(payload))
    elif frame.type == HTTP2_CONTINUATION:
        http2_on_continuation(http2, frame, payload)
    elif frame.type == HTTP2_SETTINGS:
        http2_on_settings(http2, frame, payload)
    elif frame.type == HTTP2_PING:
        http2_on_ping(http2, frame, payload)
    elif frame.type == HTTP2_GOAWAY:
        http2.role.on_goaway(http2, http2_read_u32(payload) & WINDOW_MAX, http2_read_u32(payload + 4))
    elif frame.type == HTTP2_PRIORITY:
        http2_on_priority(http2, frame, payload)
    elif frame.type == HTTP2_PUSH_PROMISE:
        http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"PUSH_PROMISE")    # a client may not, and as one we said no
    elif http2_guard_count(http2, HTTP2_ATTACK_UNKNOWN):
        http2_cut_off(http2, HTTP2_ATTACK_UNKNOWN)


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
