"""Bodies as they come on an HTTP/2 connection: DATA frames to the other side, and windows back."""

from libc.stdint cimport uint8_t

from fastmesh._core.buffers cimport buffer_data, buffer_give, buffer_take
from fastmesh._core.headers cimport head_copy, header_t
from fastmesh._core.http2_errors cimport (
    http2_cut_off,
    http2_fail,
    http2_fail_stream,
    http2_refuse_frame,
    http2_was_reset,
)
from fastmesh._core.http2_frames cimport (
    HTTP2_END_STREAM,
    HTTP2_FLOW_CONTROL_ERROR,
    HTTP2_FRAME_HEAD_BYTES,
    HTTP2_FRAME_SIZE_ERROR,
    HTTP2_INTERNAL_ERROR,
    HTTP2_PADDED,
    HTTP2_PROTOCOL_ERROR,
    HTTP2_STREAM_CLOSED,
    HTTP2_WINDOW_BYTES,
)
from fastmesh._core.http2_guard cimport http2_guard_count, http2_guard_received_data
from fastmesh._core.http2_output cimport http2_send_window
from fastmesh._core.http2_streams cimport http2_chain_append, http2_stream_find
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    HTTP2_AT_FRAME,
    HTTP2_ATTACK_EMPTY,
    HTTP2_CLOSED,
    HTTP2_HALF_REMOTE,
    HTTP2_IN_DATA,
    SESSION_IS_OVER,
    STREAM_ENDS_INPUT,
    STREAM_HAS_LENGTH,
    STREAM_HEAD_DONE,
    STREAM_IS_WOKEN,
    buffer_t,
)

# ---- DATA frames


cdef size_t http2_body_begin(
    http2_t* http2, const http2_frame_t* frame, const char* data, size_t length
) noexcept nogil:
    cdef uint32_t before = 1 if frame.flags & HTTP2_PADDED else 0
    cdef uint32_t padding = 0
    if before > frame.length:
        http2_fail(http2, HTTP2_FRAME_SIZE_ERROR, b"DATA without its padding length")
        return length
    if before:
        if length <= HTTP2_FRAME_HEAD_BYTES:
            return 0
        padding = <uint8_t>data[HTTP2_FRAME_HEAD_BYTES]
        if padding + 1 > frame.length:
            http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"more padding than payload")
            return length
    http2.data_left = frame.length - before - padding
    http2.padding_left = padding
    http2.data_stream_id = frame.stream_id
    http2.data_flags = frame.flags
    http2.phase = HTTP2_IN_DATA
    if accept(http2, frame, before + padding) and http2.data_left + http2.padding_left == 0:
        end_of_frame(http2)
    return HTTP2_FRAME_HEAD_BYTES + before


cdef bint accept(http2_t* http2, const http2_frame_t* frame, uint32_t not_data) noexcept nogil:
    """Whether the frame may come at all. False: the session is over."""
    cdef http2_stream_t* stream
    http2.receive_window -= <int>frame.length
    if http2.receive_window < 0:
        http2_fail(http2, HTTP2_FLOW_CONTROL_ERROR, b"the connection's window")
        return False
    http2.unacknowledged += frame.length
    if http2.data_left > 0:
        http2_guard_received_data(http2)
    elif not frame.flags & HTTP2_END_STREAM and http2_guard_count(http2, HTTP2_ATTACK_EMPTY):
        http2_cut_off(http2, HTTP2_ATTACK_EMPTY)
        return False
    stream = http2_stream_find(http2, frame.stream_id)
    if stream != NULL:
        accept_at(stream, frame, not_data)
        return not http2.flags & SESSION_IS_OVER
    if frame.stream_id > http2.last_stream_id or frame.stream_id % 2 == 0:
        http2_fail(http2, HTTP2_PROTOCOL_ERROR, b"DATA on a stream that has not begun")
        return False
    if http2.connection.is_downstream and not http2_was_reset(http2, frame.stream_id):
        http2_refuse_frame(http2, frame.stream_id, HTTP2_STREAM_CLOSED)
    return not http2.flags & SESSION_IS_OVER


cdef void accept_at(http2_stream_t* stream, const http2_frame_t* frame, uint32_t not_data) noexcept nogil:
    cdef http2_t* http2 = stream.session
    if stream.flags & STREAM_ENDS_INPUT or stream.state >= HTTP2_HALF_REMOTE:
        http2_fail_stream(stream, HTTP2_STREAM_CLOSED, b"DATA behind END_STREAM")
        return
    if not http2.connection.is_downstream and not stream.flags & STREAM_HEAD_DONE:
        http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"DATA before a response head")
        return
    stream.receive_window -= <int>frame.length
    if stream.receive_window < 0:
        http2_fail_stream(stream, HTTP2_FLOW_CONTROL_ERROR, b"more DATA than the window allows")
        return
    stream.unacknowledged += not_data
    if stream.flags & STREAM_HAS_LENGTH:
        if http2.data_left > stream.body_left:
            http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"more DATA than content-length says")
            return
        stream.body_left -= http2.data_left


cdef size_t http2_body_piece(http2_t* http2, const char* data, size_t length) noexcept nogil:
    cdef size_t used = min(length, <size_t>http2.data_left)
    cdef size_t padding
    if used > 0:
        http2.data_left -= <uint32_t>used
        deliver(http2, data, used)
    padding = min(length - used, <size_t>http2.padding_left)
    http2.padding_left -= <uint32_t>padding
    if http2.data_left + http2.padding_left == 0 and http2.phase == HTTP2_IN_DATA:
        end_of_frame(http2)
    return used + padding


cdef void end_of_frame(http2_t* http2) noexcept nogil:
    cdef http2_stream_t* stream
    http2.phase = HTTP2_AT_FRAME
    if not http2.data_flags & HTTP2_END_STREAM or http2.flags & SESSION_IS_OVER:
        return
    stream = http2_stream_find(http2, http2.data_stream_id)
    if stream != NULL:
        http2_remote_end(stream, NULL)


cdef void deliver(http2_t* http2, const char* data, size_t length) noexcept nogil:
    cdef http2_stream_t* stream = http2_stream_find(http2, http2.data_stream_id)
    if stream == NULL:
        return                          # it is over for us: the connection's window is given back all the same
    if stream.input == NULL and http2.role.takes_body(stream):
        stream.unacknowledged += <uint32_t>length
        http2.role.on_body(stream, data, length)
        credit_stream(stream)
        return
    if http2_chain_append(http2.connection.worker, &stream.input, &stream.input_last, data, length) < 0:
        http2_fail(http2, HTTP2_INTERNAL_ERROR, b"no memory")
        return
    http2.buffered_bytes += <uint32_t>length


# ---- windows


cdef void credit_stream(http2_stream_t* stream) noexcept nogil:
    if stream.state == HTTP2_CLOSED or stream.flags & STREAM_ENDS_INPUT or stream.exchange == NULL:
        return
    if stream.unacknowledged < HTTP2_WINDOW_BYTES / 2:
        return
    http2_send_window(stream.session, stream.id, stream.unacknowledged)
    stream.receive_window += <int>stream.unacknowledged
    stream.unacknowledged = 0


cdef void http2_credit_connection(http2_t* http2) noexcept nogil:
    if http2.unacknowledged < HTTP2_CONNECTION_WINDOW_BYTES / 4 or http2.buffered_bytes >= HTTP2_BUFFERED_MAX_BYTES:
        return
    http2_send_window(http2, 0, http2.unacknowledged)
    http2.receive_window += <int>http2.unacknowledged
    http2.unacknowledged = 0


# ---- the end of a body


cdef void http2_remote_end(http2_stream_t* stream, head_t* trailers) noexcept nogil:
    if stream.flags & STREAM_HAS_LENGTH and stream.body_left > 0:
        http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"less DATA than content-length says")
        return
    stream.flags |= STREAM_ENDS_INPUT
    if stream.input == NULL and stream.session.role.on_end(stream, trailers):
        return
    if trailers != NULL and trailers.count > 0 and keep_trailers(stream, trailers) < 0:
        http2_fail(stream.session, HTTP2_INTERNAL_ERROR, b"no memory")


cdef int keep_trailers(http2_stream_t* stream, const head_t* trailers) noexcept nogil:
    """They wait behind the body: head_t, table and text in one buffer."""
    cdef size_t table = sizeof(head_t) + trailers.count * sizeof(header_t)
    cdef buffer_t* buffer = buffer_take(stream.session.connection.worker, table + trailers.text_len)
    cdef char* at
    if buffer == NULL:
        return -1
    at = buffer_data(buffer)
    stream.input_trailers = buffer
    return head_copy(
        <head_t*>at, trailers, at + table, trailers.text_len, <header_t*>(at + sizeof(head_t)), trailers.count
    )


# ---- what waited


cdef void http2_deliver_woken(http2_t* http2) noexcept nogil:
    cdef http2_stream_t* stream
    while http2.woken != NULL and http2.connection.state == CONNECTION_OPEN and not http2.flags & SESSION_IS_OVER:
        stream = http2.woken
        http2.woken = stream.next_woken
        stream.flags &= ~STREAM_IS_WOKEN
        deliver_waiting(stream)


cdef void deliver_waiting(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef buffer_t* first
    cdef uint32_t length
    while stream.input != NULL and http2.role.takes_body(stream):
        first = stream.input
        length = first.end - first.begin
        stream.input = first.next       # the stream may end while these bytes are looked at
        if first.next == NULL:
            stream.input_last = NULL
        http2.buffered_bytes -= length
        stream.unacknowledged += length
        http2.role.on_body(stream, buffer_data(first) + first.begin, length)
        buffer_give(http2.connection.worker, first)
        if stream.state == HTTP2_CLOSED:
            return
    credit_stream(stream)
    if stream.input == NULL and stream.flags & STREAM_ENDS_INPUT and stream.state < HTTP2_HALF_REMOTE:
        end_waiting(stream)


cdef void end_waiting(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef buffer_t* trailers = stream.input_trailers
    stream.input_trailers = NULL
    if http2.role.on_end(stream, NULL if trailers == NULL else <head_t*>buffer_data(trailers)):
        if trailers != NULL:
            buffer_give(http2.connection.worker, trailers)
    else:
        stream.input_trailers = trailers
