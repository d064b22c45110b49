"""What an HTTP/2 connection sends (RFC 9113 5.2, 6)."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memmove, strlen

from fastmesh._core.buffers cimport buffer_data, buffer_take
from fastmesh._core.connection cimport (
    connection_commit,
    connection_is_blocked,
    connection_reserve,
    connection_wake,
)
from fastmesh._core.http2_frames cimport (
    HTTP2_ACK,
    HTTP2_CONTINUATION,
    HTTP2_DATA,
    HTTP2_END_HEADERS,
    HTTP2_END_STREAM,
    HTTP2_FRAME_HEAD_BYTES,
    HTTP2_FRAME_MAX_BYTES,
    HTTP2_GOAWAY,
    HTTP2_HEADERS,
    HTTP2_NO_ERROR,
    HTTP2_PING,
    HTTP2_PREFACE,
    HTTP2_PREFACE_BYTES,
    HTTP2_PROTOCOL_ERROR,
    HTTP2_RST_STREAM,
    HTTP2_SETTING_CONNECT,
    HTTP2_SETTING_HEAD_MAX,
    HTTP2_SETTING_PUSH,
    HTTP2_SETTING_STREAMS_MAX,
    HTTP2_SETTINGS,
    HTTP2_WINDOW_BYTES,
    HTTP2_WINDOW_UPDATE,
    http2_write_frame,
    http2_write_setting,
    http2_write_u32,
)
from fastmesh._core.http2_guard cimport http2_guard_answered, http2_guard_completed, http2_guard_sent_data
from fastmesh._core.http2_head cimport http2_trailers_bound, http2_write_trailers
from fastmesh._core.http2_streams cimport (
    STREAM_LOCAL_ENDS,
    STREAM_RESETS,
    http2_chain_append,
    http2_chain_drop,
    http2_stop_waiting,
    http2_stream_change,
    http2_wait,
)
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    HTTP2_CLOSED,
    HTTP2_HALF_LOCAL,
    HTTP2_HALF_REMOTE,
    HTTP2_OPEN,
    IO_BROKEN,
    SESSION_IS_OVER,
    SESSION_SHRINKS_TABLE,
    STREAM_ENDS_OUTPUT,
    STREAM_IS_MALFORMED,
    buffer_t,
    connection_t,
    exchange_t,
)

cdef enum:
    WINDOW_OF_CONNECTION = 1048576      # see http2_session
    PIECE_BYTES = 16375                 # of a body at a time: four frames fill a buffer of 64 KiB
    SETTINGS_MAX_BYTES = 96
    REMEMBERED_RESETS = 8

# ---- control frames


cdef char* reserve(http2_t* http2, size_t size) noexcept nogil:
    http2.tail_stream_id = 0
    if http2.flags & SESSION_IS_OVER:
        return NULL
    return connection_reserve(http2.connection, size)


cdef void http2_send_preface(http2_t* http2, uint32_t streams_max, uint32_t head_max_bytes) noexcept nogil:
    """Our SETTINGS, and a window for the whole connection beyond the 64 KiB that it begins with."""
    cdef char* out = reserve(http2, SETTINGS_MAX_BYTES)
    cdef char* at = out
    cdef bint is_server = http2.connection.is_downstream
    if out == NULL:
        return
    if not is_server:
        memcpy(at, HTTP2_PREFACE, HTTP2_PREFACE_BYTES)
        at += HTTP2_PREFACE_BYTES
    at = http2_write_frame(at, 18 if is_server else 12, HTTP2_SETTINGS, 0, 0)
    at = http2_write_setting(at, HTTP2_SETTING_HEAD_MAX, head_max_bytes)
    if is_server:
        at = http2_write_setting(at, HTTP2_SETTING_STREAMS_MAX, streams_max)
        at = http2_write_setting(at, HTTP2_SETTING_CONNECT, 1)
    else:
        at = http2_write_setting(at, HTTP2_SETTING_PUSH, 0)
    at = http2_write_frame(at, 4, HTTP2_WINDOW_UPDATE, 0, 0)
    http2_write_u32(WINDOW_OF_CONNECTION - HTTP2_WINDOW_BYTES, at)
    http2.receive_window = WINDOW_OF_CONNECTION
    connection_commit(http2.connection, at + 4 - out)


cdef void send_small(
    http2_t* http2, uint8_t type, uint8_t flags, uint32_t stream_id, const char* payload, uint32_t length
) noexcept nogil:
    cdef char* out = reserve(http2, HTTP2_FRAME_HEAD_BYTES + length)
    if out == NULL:
        return
    memcpy(http2_write_frame(out, length, type, flags, stream_id), payload, length)
    connection_commit(http2.connection, HTTP2_FRAME_HEAD_BYTES + length)


cdef void http2_send_settings_ack(http2_t* http2) noexcept nogil:
    send_small(http2, HTTP2_SETTINGS, HTTP2_ACK, 0, b"", 0)
    http2_guard_answered(http2, HTTP2_FRAME_HEAD_BYTES)


cdef void http2_send_ping(http2_t* http2, const char* data, bint is_ack) noexcept nogil:
    send_small(http2, HTTP2_PING, HTTP2_ACK if is_ack else 0, 0, data, 8)
    if is_ack:
        http2_guard_answered(http2, HTTP2_FRAME_HEAD_BYTES + 8)


cdef void http2_send_reset(http2_t* http2, uint32_t stream_id, uint32_t code) noexcept nogil:
    cdef char[4] payload
    http2_write_u32(code, payload)
    send_small(http2, HTTP2_RST_STREAM, 0, stream_id, payload, 4)
    http2_guard_answered(http2, HTTP2_FRAME_HEAD_BYTES + 4)


cdef void http2_send_window(http2_t* http2, uint32_t stream_id, uint32_t increment) noexcept nogil:
    cdef char[4] payload
    http2_write_u32(increment, payload)
    send_small(http2, HTTP2_WINDOW_UPDATE, 0, stream_id, payload, 4)


cdef void http2_send_goaway(http2_t* http2, uint32_t last_stream_id, uint32_t code, const char* detail) noexcept nogil:
    cdef uint32_t detail_len = <uint32_t>strlen(detail)
    cdef char* out = reserve(http2, HTTP2_FRAME_HEAD_BYTES + 8 + detail_len)
    cdef char* at
    if out == NULL:
        return
    at = http2_write_frame(out, 8 + detail_len, HTTP2_GOAWAY, 0, 0)
    http2_write_u32(last_stream_id, at)
    http2_write_u32(code, at + 4)
    memcpy(at + 8, detail, detail_len)
    connection_commit(http2.connection, HTTP2_FRAME_HEAD_BYTES + 8 + detail_len)


# ---- header blocks


cdef char* http2_block_room(http2_t* http2, size_t bound) noexcept nogil:
    cdef size_t frames = (bound + 1) / HTTP2_FRAME_MAX_BYTES + 1
    cdef char* out = reserve(http2, bound + 1 + frames * HTTP2_FRAME_HEAD_BYTES)
    if out == NULL:
        return NULL
    out += HTTP2_FRAME_HEAD_BYTES
    if http2.flags & SESSION_SHRINKS_TABLE:
        out[0] = 0x20                   # a size update to 0: the peer has made its table smaller, and we use none
        return out + 1
    return out


cdef void http2_block_done(http2_t* http2, uint32_t stream_id, size_t length, bint is_end) noexcept nogil:
    cdef buffer_t* buffer = http2.connection.output_last
    cdef char* out = buffer_data(buffer) + buffer.end
    cdef uint8_t flags = HTTP2_END_STREAM if is_end else 0
    cdef size_t first
    cdef size_t piece
    if http2.flags & SESSION_SHRINKS_TABLE:
        http2.flags &= ~SESSION_SHRINKS_TABLE
        length += 1
    if length <= HTTP2_FRAME_MAX_BYTES:
        http2_write_frame(out, <uint32_t>length, HTTP2_HEADERS, flags | HTTP2_END_HEADERS, stream_id)
        connection_commit(http2.connection, HTTP2_FRAME_HEAD_BYTES + length)
        return
    http2_write_frame(out, HTTP2_FRAME_MAX_BYTES, HTTP2_HEADERS, flags, stream_id)
    first = HTTP2_FRAME_HEAD_BYTES + HTTP2_FRAME_MAX_BYTES
    connection_commit(http2.connection, first)
    out += first
    length -= HTTP2_FRAME_MAX_BYTES
    while length > 0:
        # Each frame head pushes what is left of the block back.
        memmove(out + HTTP2_FRAME_HEAD_BYTES, out, length)
        piece = min(length, <size_t>HTTP2_FRAME_MAX_BYTES)
        http2_write_frame(
            out, <uint32_t>piece, HTTP2_CONTINUATION, HTTP2_END_HEADERS if piece == length else 0, stream_id
        )
        connection_commit(http2.connection, HTTP2_FRAME_HEAD_BYTES + piece)
        out += HTTP2_FRAME_HEAD_BYTES + piece
        length -= piece


# ---- bodies


cdef inline bint can_send(const http2_stream_t* stream) noexcept nogil:
    return stream.state == HTTP2_OPEN or stream.state == HTTP2_HALF_REMOTE


cdef inline bint is_full(connection_t* connection) noexcept nogil:
    """So much is queued that the socket should take some first."""
    return connection.output_bytes >= HTTP2_OUTPUT_MAX_BYTES and connection_is_blocked(connection)


cdef size_t write_frame(http2_stream_t* stream, const char* data, size_t length) noexcept nogil:
    """One DATA frame, as long as piece and windows allow. 0: a window is shut, or nobody reads any more."""
    cdef http2_t* http2 = stream.session
    cdef int64_t window = min(stream.send_window, http2.send_window)
    cdef size_t piece = min(length, <size_t>PIECE_BYTES)
    cdef char* out
    if window <= 0:
        return 0
    if <int64_t>piece > window:
        piece = <size_t>window
    out = reserve(http2, HTTP2_FRAME_HEAD_BYTES + piece)
    if out == NULL:
        return 0
    memcpy(http2_write_frame(out, <uint32_t>piece, HTTP2_DATA, 0, stream.id), data, piece)
    http2.tail = http2.connection.output_last
    http2.tail_at = http2.tail.end
    http2.tail_stream_id = stream.id
    connection_commit(http2.connection, HTTP2_FRAME_HEAD_BYTES + piece)
    stream.send_window -= <int64_t>piece
    http2.send_window -= <int64_t>piece
    stream.activity_ms = http2.connection.worker.now_ms
    http2_guard_sent_data(http2)
    return piece


cdef bint is_anyone_waiting(const http2_t* http2) noexcept nogil:
    return http2.waiting != NULL and http2.waiting.id != 0


cdef void http2_send_data(http2_stream_t* stream, const char* data, size_t length) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef size_t sent
    if not can_send(stream) or http2.flags & SESSION_IS_OVER:
        return
    while length > 0 and stream.output == NULL and not is_anyone_waiting(http2) and not is_full(http2.connection):
        sent = write_frame(stream, data, length)
        if sent == 0:
            break
        data += sent
        length -= sent
    if length == 0 or not can_send(stream):
        return
    if http2_chain_append(http2.connection.worker, &stream.output, &stream.output_last, data, length) < 0:
        http2.connection.io |= IO_BROKEN    # no memory, and a gap must not be sent
        connection_wake(http2.connection)
        return
    if stream.send_window > 0:
        http2_wait(stream)


cdef bint http2_is_blocked(http2_stream_t* stream) noexcept nogil:
    if stream.output != NULL:
        return True
    if not is_full(stream.session.connection):
        return False
    http2_wait(stream)
    return True


# ---- the end of a stream


cdef void mark_end(http2_stream_t* stream) noexcept nogil:
    """END_STREAM: on the DATA frame that was written last, if that is this stream's and still here; else on its own."""
    cdef http2_t* http2 = stream.session
    cdef buffer_t* tail = http2.tail
    cdef char* out
    if http2.tail_stream_id == stream.id and http2.connection.output_last == tail and tail.begin <= http2.tail_at:
        out = buffer_data(tail) + http2.tail_at
        out[4] = HTTP2_END_STREAM
        http2.tail_stream_id = 0
        return
    out = reserve(http2, HTTP2_FRAME_HEAD_BYTES)
    if out != NULL:
        http2_write_frame(out, 0, HTTP2_DATA, HTTP2_END_STREAM, stream.id)
        connection_commit(http2.connection, HTTP2_FRAME_HEAD_BYTES)


cdef buffer_t* encode_trailers(http2_stream_t* stream, const head_t* trailers) noexcept nogil:
    cdef buffer_t* buffer = buffer_take(stream.session.connection.worker, http2_trailers_bound(trailers))
    if buffer != NULL:
        buffer.end = <uint32_t>http2_write_trailers(trailers, buffer_data(buffer))
    return buffer


cdef void write_end(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef buffer_t* trailers = stream.output_trailers
    cdef char* out
    if trailers == NULL or trailers.end == 0:
        mark_end(stream)
    else:
        out = http2_block_room(http2, trailers.end)
        if out != NULL:
            memcpy(out, buffer_data(trailers), trailers.end)
            http2_block_done(http2, stream.id, trailers.end, True)
    http2_local_ended(stream)


cdef void http2_send_end(http2_stream_t* stream, head_t* trailers) noexcept nogil:
    if not can_send(stream) or stream.flags & STREAM_ENDS_OUTPUT:
        return
    if trailers != NULL and trailers.count > 0:
        stream.output_trailers = encode_trailers(stream, trailers)
    stream.flags |= STREAM_ENDS_OUTPUT
    if stream.output == NULL:
        write_end(stream)


cdef void http2_local_ended(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    if stream.flags & STREAM_IS_MALFORMED:
        http2_stream_reset(stream, HTTP2_PROTOCOL_ERROR)
        return
    if http2.connection.is_downstream:
        http2_guard_completed(http2)
    http2_stream_change(stream, STREAM_LOCAL_ENDS)
    if stream.state == HTTP2_HALF_LOCAL and stream.exchange == NULL:
        # The answer was early: the rest of the request is of no use (RFC 9113 8.1).
        http2_stream_reset(stream, HTTP2_NO_ERROR)


cdef void http2_stream_reset(http2_stream_t* stream, uint32_t code) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef uint32_t stream_id = stream.id
    if stream.state == HTTP2_CLOSED:
        return
    if stream_id:
        http2_send_reset(http2, stream_id, code)
        http2.reset_ids[http2.reset_at] = stream_id
        http2.reset_at = <uint8_t>((http2.reset_at + 1) % REMEMBERED_RESETS)
    http2_stream_change(stream, STREAM_RESETS)


# ---- those that wait


cdef void output_is_out(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef exchange_t* exchange = stream.exchange
    http2_stop_waiting(stream)
    if stream.flags & STREAM_ENDS_OUTPUT and can_send(stream):
        write_end(stream)
    if exchange != NULL:
        http2.role.on_drained(exchange)


cdef bint advance(http2_stream_t* stream) noexcept nogil:
    """One stream's turn. False: it has to go on waiting for the connection."""
    cdef http2_t* http2 = stream.session
    cdef buffer_t* first = stream.output
    cdef size_t sent
    if stream.id == 0:
        return False
    if first == NULL:
        output_is_out(stream)
        return True
    if stream.send_window <= 0:
        http2_stop_waiting(stream)      # its own WINDOW_UPDATE brings it back
        return True
    sent = write_frame(stream, buffer_data(first) + first.begin, first.end - first.begin)
    if sent == 0:
        return False
    http2_chain_drop(http2.connection.worker, &stream.output, &stream.output_last, <uint32_t>sent)
    if stream.output == NULL:
        output_is_out(stream)
    elif http2.waiting == stream:
        http2.waiting = stream.next_waiting
    return True


cdef void http2_pump(http2_t* http2) noexcept nogil:
    cdef connection_t* connection = http2.connection
    cdef http2_stream_t* stream
    cdef uint32_t fruitless = 0
    while http2.waiting != NULL and connection.state == CONNECTION_OPEN and not http2.flags & SESSION_IS_OVER:
        if is_full(connection) or http2.waiting == NULL:    # what is_full sent may have let all go on
            return
        stream = http2.waiting
        if advance(stream):
            fruitless = 0
            continue
        fruitless += 1
        if fruitless > http2.stream_count:
            return
        http2.waiting = stream.next_waiting
