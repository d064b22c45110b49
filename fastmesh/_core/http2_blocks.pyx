"""Header blocks of an HTTP/2 connection (RFC 9113 4.3)."""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from fastmesh._core.buffers cimport buffer_data, buffer_give, buffer_room, buffer_take
from fastmesh._core.http2_bodies cimport http2_remote_end
from fastmesh._core.http2_deadlines cimport http2_arm
from fastmesh._core.http2_errors cimport http2_cut_off, http2_fail, http2_fail_stream, http2_is_lost, http2_was_reset
from fastmesh._core.http2_frames cimport (
    HTTP2_END_HEADERS,
    HTTP2_END_STREAM,
    HTTP2_INTERNAL_ERROR,
    HTTP2_PRIORITISED,
    HTTP2_PROTOCOL_ERROR,
    HTTP2_STREAM_CLOSED,
    http2_read_u32,
    http2_strip,
)
from fastmesh._core.http2_guard cimport HTTP2_BLOCK_FRAMES_MAX, HTTP2_BLOCK_MAX_BYTES, http2_guard_count
from fastmesh._core.http2_head cimport http2_read_trailers
from fastmesh._core.http2_streams cimport http2_stream_find
from fastmesh._core.live cimport (
    HTTP2_ATTACK_CONTINUATION,
    HTTP2_ATTACK_EMPTY,
    HTTP2_AT_FRAME,
    HTTP2_HALF_REMOTE,
    HTTP2_IN_BLOCK,
    SESSION_IS_OVER,
    STREAM_ENDS_INPUT,
    STREAM_HEAD_DONE,
    STREAM_IS_TUNNEL,
    buffer_t,
    worker_t,
    http2_stream_t,
)

cdef enum:
    SCRATCH_HEADERS = 1024
    SCRATCH_TEXT_BYTES = 262144
    WINDOW_MAX = 0x7FFFFFFF


cdef void http2_scratch(http2_t* http2, head_t* head, http2_head_limits_t* limits) noexcept nogil:
    memset(head, 0, sizeof(head_t))
    head.text = http2.connection.worker.scratch_text
    head.text_cap = SCRATCH_TEXT_BYTES
    head.headers = http2.connection.worker.scratch_headers
    head.capacity = SCRATCH_HEADERS
    limits.target_max_bytes = http2.target_max_bytes
    limits.head_max_bytes = http2.head_max_bytes
    limits.header_max_count = http2.header_max_count


cdef void http2_on_headers(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
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
    http2_arm(http2)
    add_to_block(http2, block, length)


cdef void http2_on_continuation(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil:
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
    http2_scratch(http2, &head, &limits)
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
    http2_scratch(http2, &trailers, &limits)
    result = http2_read_trailers(&http2.decoder, block, length, &limits, &trailers, &detail)
    if http2_is_lost(http2, result):
        return
    if result < 0 or not is_end or stream.flags & STREAM_IS_TUNNEL:
        http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"trailers")
        return
    http2_remote_end(stream, &trailers)
