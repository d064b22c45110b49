"""HTTP/2 towards clients: streams of a downstream connection into exchange events, and back.

How a connection ends well: GOAWAY that names no stream, a PING; when that has come back, or a second has passed, GOAWAY
with the last stream that will be served; then, when the last stream has ended, the connection closes (RFC 9113 6.8).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fastmesh._core.connection cimport (
    connection_close,
    connection_finish,
    connection_wake,
)
from fastmesh._core.exchange cimport (
    exchange_begin,
    exchange_downstream_drained,
    exchange_downstream_gone,
    exchange_new,
    exchange_refuse,
    exchange_request_body,
    exchange_request_end,
    exchange_set_request,
    exchange_takes_body,
)
from fastmesh._core.forwarding cimport forward_response, forwarding_t
from fastmesh._core.hashing cimport splitmix64
from fastmesh._core.headers cimport FRAMING_LENGTH, HEAD_UPGRADE, METHOD_CONNECT, head_t
from fastmesh._core.http2_blocks cimport http2_scratch
from fastmesh._core.http2_deadlines cimport http2_arm, http2_leave_output, http2_on_deadline
from fastmesh._core.http2_errors cimport http2_cut_off, http2_is_lost
from fastmesh._core.http2_frames cimport (
    HTTP2_CANCEL,
    HTTP2_INTERNAL_ERROR,
    HTTP2_NO_ERROR,
    HTTP2_REFUSED_STREAM,
)
from fastmesh._core.http2_guard cimport http2_guard_count
from fastmesh._core.http2_head cimport (
    HTTP2_HEAD_TARGET_TOO_LONG,
    HTTP2_HEAD_TOO_LARGE,
    http2_head_limits_t,
    http2_read_request,
    http2_response_bound,
    http2_write_response,
)
from fastmesh._core.http2_output cimport (
    http2_block_done,
    http2_block_room,
    http2_is_blocked,
    http2_local_ended,
    http2_pump,
    http2_send_data,
    http2_send_end,
    http2_send_goaway,
    http2_send_ping,
    http2_send_preface,
    http2_send_reset,
    http2_stream_reset,
)
from fastmesh._core.http2_session cimport (
    http2_session_new,
    http2_session_on_input,
    http2_session_resume,
)
from fastmesh._core.http2_streams cimport (
    STREAM_REMOTE_ENDS,
    STREAM_RESETS,
    http2_stream_any,
    http2_stream_begin,
    http2_stream_change,
    http2_stream_leave,
    http2_stream_new,
)
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    EXCHANGE_BAD,
    EXCHANGE_HEAD_SENT,
    EXCHANGE_REQUEST_COMPLETE,
    EXCHANGE_RESPONSE_STARTED,
    EXCHANGE_TUNNEL,
    HTTP2_ATTACK_HEAD,
    HTTP2_ATTACK_STREAMS,
    HTTP2_CLOSED,
    HTTP2_HALF_LOCAL,
    HTTP2_HALF_REMOTE,
    HTTP2_OPEN,
    PROTOCOL_HTTP2,
    SESSION_HEARD_GOAWAY,
    SESSION_SAID_GOAWAY,
    SESSION_SAID_LAST,
    STREAM_ENDS_INPUT,
    STREAM_ENDS_OUTPUT,
    STREAM_HAS_LENGTH,
    STREAM_IS_MALFORMED,
    STREAM_IS_TUNNEL,
    exchange_t,
    http2_role_t,
    http2_stream_t,
    http2_t,
    listener_entry_t,
)
from fastmesh._core.reason cimport (
    REASON_BAD_REQUEST,
    REASON_HEAD_TOO_LARGE,
    REASON_OVERLOADED,
    REASON_URI_TOO_LONG,
)
from fastmesh._core.websocket cimport websocket_drop_accept

cdef enum:
    GRACE_MS = 1000
    ALL_STREAMS = 0x7FFFFFFF

cdef http2_role_t SERVER_ROLE

# ---- birth


cdef void http2_server_adopt(connection_t* connection) noexcept nogil:
    cdef listener_entry_t* entry = connection.listener.entry
    cdef uint64_t now_ms = connection.worker.now_ms
    cdef http2_t* http2
    if entry == NULL:
        connection_close(connection, False)
        return
    http2 = http2_session_new(connection, &SERVER_ROLE)
    if http2 == NULL:
        connection_close(connection, False)
        return
    connection.server = &HTTP2_SERVER
    connection.events = &HTTP2_SERVER.events
    connection.protocol = PROTOCOL_HTTP2
    http2.streams_max = entry.streams_max
    http2.head_max_bytes = entry.limits.head_max_bytes
    http2.header_max_count = entry.limits.header_max_count
    http2.head_timeout_ms = entry.head_timeout_ms
    http2.target_max_bytes = entry.limits.start_line_max_bytes
    http2.rest_ms = entry.idle_timeout_ms
    http2.block_due_ms = now_ms + entry.head_timeout_ms
    if entry.connection_age_max_ms:
        # Between 90% and 100% of the age, so that clients that came together do not come back together.
        http2.age_due_ms = now_ms + entry.connection_age_max_ms - (
            entry.connection_age_max_ms // 10 * (splitmix64(&connection.worker.random) & 1023) // 1024
        )
    http2_send_preface(http2, entry.streams_max, entry.limits.head_max_bytes)
    on_quiet(http2)
    connection_wake(connection)


# ---- a request


cdef void on_head(
    http2_t* http2, http2_stream_t* stream, uint32_t stream_id, const char* block, size_t length, bint is_end
) noexcept nogil:
    cdef http2_head_limits_t limits
    cdef const char* detail = b""
    cdef head_t head
    cdef int result
    http2_scratch(http2, &head, &limits)
    result = http2_read_request(&http2.decoder, block, length, is_end, &limits, &head, &detail)
    if http2_is_lost(http2, result) or not admits(http2, stream_id):
        return
    stream = http2_stream_new(http2)
    if stream == NULL or http2_stream_begin(stream, stream_id) < 0:
        refuse_stream(http2, stream, stream_id)
        return
    if result < 0:
        begin_refused(stream, result, detail, is_end)
    else:
        begin(stream, &head, is_end)


cdef bint admits(http2_t* http2, uint32_t stream_id) noexcept nogil:
    """Whether one more stream may begin. REFUSED_STREAM tells the client that it may ask again elsewhere."""
    if http2.flags & SESSION_SAID_LAST or http2.connection.listener.entry == NULL:
        http2_send_reset(http2, stream_id, HTTP2_REFUSED_STREAM)
        return False
    if http2.stream_count < http2.streams_max:
        return True
    if http2_guard_count(http2, HTTP2_ATTACK_STREAMS):
        http2_cut_off(http2, HTTP2_ATTACK_STREAMS)
    else:
        http2_send_reset(http2, stream_id, HTTP2_REFUSED_STREAM)
    return False


cdef void refuse_stream(http2_t* http2, http2_stream_t* stream, uint32_t stream_id) noexcept nogil:
    http2_send_reset(http2, stream_id, HTTP2_REFUSED_STREAM)
    if stream != NULL:
        stream.id = 0                   # in no table yet
        http2_stream_change(stream, STREAM_RESETS)


cdef exchange_t* new_exchange(http2_stream_t* stream) noexcept nogil:
    cdef connection_t* connection = stream.session.connection
    cdef exchange_t* exchange = exchange_new(connection)
    if exchange == NULL:
        http2_stream_reset(stream, HTTP2_REFUSED_STREAM)
        return NULL
    exchange.down_stream = stream
    stream.exchange = exchange
    connection.requests += 1
    return exchange


cdef void begin(http2_stream_t* stream, head_t* head, bint is_end) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef connection_t* connection = http2.connection
    cdef uint32_t most = connection.listener.entry.connection_requests_max
    cdef exchange_t* exchange = new_exchange(stream)
    if exchange == NULL:
        return
    if most and connection.requests >= most:
        drain(connection)
    if head.method_id == METHOD_CONNECT or head.flags & HEAD_UPGRADE:
        stream.flags |= STREAM_IS_TUNNEL
        stream.flags |= STREAM_ENDS_INPUT if is_end else 0
    elif is_end:
        http2_stream_change(stream, STREAM_REMOTE_ENDS)
    elif head.framing == FRAMING_LENGTH:
        stream.flags |= STREAM_HAS_LENGTH
        stream.body_left = head.content_length
    if exchange_set_request(exchange, head) < 0:
        exchange_refuse(exchange, REASON_OVERLOADED, b"no memory for the request head")
        return
    exchange_begin(exchange)


cdef void begin_refused(http2_stream_t* stream, int result, const char* detail, bint is_end) noexcept nogil:
    """Answer what cannot be served; a malformed request is a stream error besides (RFC 9113 8.1.1)."""
    cdef http2_t* http2 = stream.session
    cdef uint8_t reason = REASON_BAD_REQUEST
    cdef exchange_t* exchange
    if result == HTTP2_HEAD_TOO_LARGE:
        if http2_guard_count(http2, HTTP2_ATTACK_HEAD):
            http2_cut_off(http2, HTTP2_ATTACK_HEAD)
            return
        reason = REASON_HEAD_TOO_LARGE
    elif result == HTTP2_HEAD_TARGET_TOO_LONG:
        reason = REASON_URI_TOO_LONG
    else:
        stream.flags |= STREAM_IS_MALFORMED
    if is_end:
        http2_stream_change(stream, STREAM_REMOTE_ENDS)
    exchange = new_exchange(stream)
    if exchange != NULL:
        exchange_refuse(exchange, reason, detail)


cdef bint takes_body(http2_stream_t* stream) noexcept nogil:
    cdef exchange_t* exchange = stream.exchange
    if exchange == NULL:
        return True                     # and throws it away
    if stream.flags & STREAM_IS_TUNNEL and not exchange.flags & EXCHANGE_TUNNEL:
        return False                    # not before the answer
    return exchange_takes_body(exchange)


cdef void on_body(http2_stream_t* stream, const char* data, size_t length) noexcept nogil:
    if stream.exchange != NULL:
        exchange_request_body(stream.exchange, data, length)


cdef bint on_end(http2_stream_t* stream, head_t* trailers) noexcept nogil:
    cdef exchange_t* exchange = stream.exchange
    if exchange != NULL and stream.flags & STREAM_IS_TUNNEL and not exchange.flags & EXCHANGE_TUNNEL:
        return False
    if exchange == NULL or exchange.flags & EXCHANGE_REQUEST_COMPLETE:
        http2_stream_change(stream, STREAM_REMOTE_ENDS)
        return True
    if exchange.upstream == NULL or not exchange.flags & EXCHANGE_HEAD_SENT:
        return False
    http2_stream_change(stream, STREAM_REMOTE_ENDS)
    exchange_request_end(exchange, trailers)
    return True


cdef void on_reset(
    http2_t* http2, exchange_t* exchange, uint32_t code, bint by_peer, const char* detail
) noexcept nogil:
    if by_peer or exchange.flags & EXCHANGE_RESPONSE_STARTED:
        exchange_downstream_gone(exchange)
    else:
        exchange_refuse(exchange, REASON_BAD_REQUEST, detail)


# ---- a response


cdef inline bint can_answer(const http2_stream_t* stream) noexcept nogil:
    return stream != NULL and (stream.state == HTTP2_OPEN or stream.state == HTTP2_HALF_REMOTE)


cdef void send_head_frame(http2_stream_t* stream, exchange_t* exchange, head_t* head, bint is_end) noexcept nogil:
    cdef forwarding_t forwarding
    cdef char* out
    memset(&forwarding, 0, sizeof(forwarding))
    forwarding.via = exchange.listener.via
    forwarding.via_len = exchange.listener.via_len
    if forward_response(head, &forwarding, exchange.request.method_id, 2, True) < 0:
        return
    out = http2_block_room(stream.session, http2_response_bound(head))
    if out != NULL:
        http2_block_done(stream.session, stream.id, http2_write_response(head, out), is_end)


cdef void send_informational(exchange_t* exchange, head_t* head) noexcept nogil:
    if can_answer(exchange.down_stream):
        send_head_frame(exchange.down_stream, exchange, head, False)


cdef void send_head(exchange_t* exchange, head_t* head, bint is_end) noexcept nogil:
    cdef http2_stream_t* stream = exchange.down_stream
    if not can_answer(stream):
        return
    if exchange.flags & EXCHANGE_TUNNEL:
        websocket_drop_accept(head)
    send_head_frame(stream, exchange, head, is_end)
    if is_end:
        http2_local_ended(stream)
    elif exchange.flags & EXCHANGE_TUNNEL:
        http2_session_resume(stream)    # what the client has sent in advance


cdef void send_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    if exchange.down_stream != NULL:
        http2_send_data(exchange.down_stream, data, length)


cdef void send_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    if exchange.down_stream != NULL:
        http2_send_end(exchange.down_stream, trailers)


cdef void abort_response(exchange_t* exchange) noexcept nogil:
    if exchange.down_stream != NULL:
        http2_stream_reset(exchange.down_stream, HTTP2_INTERNAL_ERROR)


cdef void detach(exchange_t* exchange) noexcept nogil:
    cdef http2_stream_t* stream = exchange.down_stream
    if stream == NULL:
        return
    exchange.down_stream = NULL
    stream.exchange = NULL
    if stream.state == HTTP2_CLOSED:
        http2_stream_leave(stream)
    elif stream.state == HTTP2_HALF_LOCAL:
        http2_stream_reset(stream, HTTP2_NO_ERROR)      # an early answer: the rest of the request is of no use
    elif stream.flags & STREAM_ENDS_OUTPUT:
        http2_leave_output(stream)
        http2_session_resume(stream)    # throws away what waits
    else:
        http2_stream_reset(stream, HTTP2_CANCEL)


cdef bint is_blocked(exchange_t* exchange) noexcept nogil:
    return exchange.down_stream != NULL and http2_is_blocked(exchange.down_stream)


cdef void resume(exchange_t* exchange) noexcept nogil:
    if exchange.down_stream != NULL:
        http2_session_resume(exchange.down_stream)


cdef void on_stream_drained(exchange_t* exchange) noexcept nogil:
    exchange_downstream_drained(exchange)


# ---- the end


cdef void drain(connection_t* connection) noexcept nogil:
    cdef http2_t* http2 = connection.http2
    if http2.flags & SESSION_SAID_GOAWAY:
        return
    http2.flags |= SESSION_SAID_GOAWAY
    connection.is_draining = 1
    http2_send_goaway(http2, ALL_STREAMS, HTTP2_NO_ERROR, b"")
    http2_send_ping(http2, b"draining", False)
    http2.waits_for_pong = 1
    http2.age_due_ms = 0
    http2.grace_due_ms = connection.worker.now_ms + GRACE_MS
    http2_arm(http2)


cdef void say_last(http2_t* http2) noexcept nogil:
    if http2.flags & SESSION_SAID_LAST:
        return
    http2.flags |= SESSION_SAID_LAST
    http2.grace_due_ms = 0
    http2_send_goaway(http2, http2.last_stream_id, HTTP2_NO_ERROR, b"")
    if http2.stream_count == 0:
        connection_finish(http2.connection, True)


cdef void on_ping_ack(http2_t* http2) noexcept nogil:
    if http2.flags & SESSION_SAID_GOAWAY:
        say_last(http2)


cdef void on_goaway(http2_t* http2, uint32_t last_stream_id, uint32_t code) noexcept nogil:
    http2.flags |= SESSION_HEARD_GOAWAY
    if http2.stream_count == 0:
        connection_finish(http2.connection, True)


cdef void on_settings(http2_t* http2) noexcept nogil:
    pass                                # nothing waits for a client's


cdef void on_quiet(http2_t* http2) noexcept nogil:
    if http2.flags & (SESSION_SAID_LAST | SESSION_HEARD_GOAWAY):
        connection_finish(http2.connection, True)
        return
    http2.quiet_due_ms = http2.connection.worker.now_ms + http2.rest_ms
    http2_arm(http2)


cdef void end_all(http2_t* http2, bint is_bad) noexcept nogil:
    """The connection is closed or closing."""
    cdef http2_stream_t* stream = http2_stream_any(http2)
    cdef exchange_t* exchange
    while stream != NULL:
        exchange = stream.exchange
        http2_stream_change(stream, STREAM_RESETS)
        if exchange != NULL:
            exchange.flags |= EXCHANGE_BAD if is_bad else 0
            exchange_downstream_gone(exchange)
        stream = http2_stream_any(http2)


cdef void on_over(http2_t* http2, const char* detail) noexcept nogil:
    connection_finish(http2.connection, True)
    end_all(http2, True)


# ---- events of the connection


cdef void on_connected(connection_t* connection) noexcept nogil:
    pass                                # a downstream connection is born connected


cdef void on_input(connection_t* connection) noexcept nogil:
    http2_session_on_input(connection.http2)


cdef void on_drained(connection_t* connection) noexcept nogil:
    connection.http2.stall_due_ms = 0 if connection.http2.stream_count == 0 else connection.http2.stall_due_ms
    http2_pump(connection.http2)
    connection_wake(connection)         # requests that waited for their client to read


cdef void on_broken(connection_t* connection, int error) noexcept nogil:
    connection_close(connection, False)
    end_all(connection.http2, False)


cdef void on_deadline(connection_t* connection) noexcept nogil:
    cdef http2_t* http2 = connection.http2
    cdef uint64_t now_ms = connection.worker.now_ms
    http2_on_deadline(http2)
    if connection.state == CONNECTION_OPEN and http2.age_due_ms and http2.age_due_ms <= now_ms:
        drain(connection)
    if connection.state == CONNECTION_OPEN and http2.grace_due_ms and http2.grace_due_ms <= now_ms:
        say_last(http2)
    if connection.state == CONNECTION_OPEN and http2.quiet_due_ms and http2.quiet_due_ms <= now_ms:
        say_last(http2)                 # idle for too long
    if connection.state == CONNECTION_OPEN:
        http2_arm(http2)


SERVER_ROLE.on_head = on_head
SERVER_ROLE.takes_body = takes_body
SERVER_ROLE.on_body = on_body
SERVER_ROLE.on_end = on_end
SERVER_ROLE.on_reset = on_reset
SERVER_ROLE.on_drained = on_stream_drained
SERVER_ROLE.on_settings = on_settings
SERVER_ROLE.on_ping_ack = on_ping_ack
SERVER_ROLE.on_goaway = on_goaway
SERVER_ROLE.on_quiet = on_quiet
SERVER_ROLE.on_over = on_over
HTTP2_SERVER.events.on_connected = on_connected
HTTP2_SERVER.events.on_input = on_input
HTTP2_SERVER.events.on_drained = on_drained
HTTP2_SERVER.events.on_broken = on_broken
HTTP2_SERVER.events.on_deadline = on_deadline
HTTP2_SERVER.informational = send_informational
HTTP2_SERVER.head = send_head
HTTP2_SERVER.body = send_body
HTTP2_SERVER.end = send_end
HTTP2_SERVER.abort = abort_response
HTTP2_SERVER.detach = detach
HTTP2_SERVER.blocked = is_blocked
HTTP2_SERVER.resume = resume
HTTP2_SERVER.protocol = PROTOCOL_HTTP2
HTTP2_SERVER.drain = drain
