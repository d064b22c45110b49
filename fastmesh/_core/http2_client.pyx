"""HTTP/2 towards endpoints: exchange events into streams of an upstream connection, and back.

Exchanges may be attached while the connection is being opened: they wait until it stands; extended CONNECT waits for
the endpoint's SETTINGS besides, which say whether it is understood there (RFC 8441 3). All others are sent at once.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport strerror

from fastmesh._core.connection cimport connection_flush, connection_wake
from fastmesh._core.exchange cimport (
    exchange_connected,
    exchange_response_body,
    exchange_response_end,
    exchange_response_head,
    exchange_upstream_drained,
    exchange_upstream_failed,
)
from fastmesh._core.headers cimport (
    FRAMING_LENGTH,
    FRAMING_NONE,
    HEAD_UPGRADE,
    METHOD_CONNECT,
    METHOD_HEAD,
    head_t,
)
from fastmesh._core.http2_blocks cimport http2_scratch
from fastmesh._core.http2_bodies cimport http2_remote_end
from fastmesh._core.http2_deadlines cimport http2_arm, http2_on_deadline
from fastmesh._core.http2_errors cimport http2_fail_stream, http2_is_lost
from fastmesh._core.http2_frames cimport HTTP2_CANCEL, HTTP2_NO_ERROR, HTTP2_PROTOCOL_ERROR, HTTP2_REFUSED_STREAM
from fastmesh._core.http2_guard cimport http2_guard_completed
from fastmesh._core.http2_head cimport (
    http2_head_limits_t,
    http2_read_response,
    http2_request_bound,
    http2_write_request,
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
    http2_send_preface,
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
    http2_stop_waiting,
    http2_stream_any,
    http2_stream_begin,
    http2_stream_change,
    http2_stream_new,
    http2_wait,
)
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    CONNECTION_SECURING,
    EXCHANGE_RESPONSE_STARTED,
    EXCHANGE_TUNNEL,
    HTTP2_CLOSED,
    HTTP2_HALF_LOCAL,
    IO_BROKEN,
    PROOF_NONE,
    PROOF_SILENT,
    PROOF_UNPROCESSED,
    PROTOCOL_HTTP1,
    PROTOCOL_HTTP2,
    SESSION_HAS_SETTINGS,
    SESSION_HEARD_GOAWAY,
    SESSION_TAKES_CONNECT,
    STREAM_HAS_LENGTH,
    STREAM_HEAD_DONE,
    STREAM_IS_TUNNEL,
    exchange_t,
    http2_role_t,
    http2_stream_t,
    http2_t,
)
from fastmesh._core.pool cimport pool_discard, pool_rest, pool_share, pool_unshare
from fastmesh._core.reason cimport (
    REASON_CONNECT_FAILED,
    REASON_CONNECT_TIMEOUT,
    REASON_OVERLOADED,
    REASON_UPGRADE_REFUSED,
    REASON_UPSTREAM_MALFORMED,
    REASON_UPSTREAM_REFUSED,
    REASON_UPSTREAM_RESET,
    REASON_UPSTREAM_TLS,
    REASON_UPSTREAM_TRUNCATED,
)
from fastmesh._core.tls cimport tls_protocol
from fastmesh._core.websocket cimport websocket_complete, websocket_hide_key

cdef enum:
    HEAD_MAX_BYTES = 131072
    HEADER_MAX_COUNT = 500
    INFORMATIONAL_MAX = 16              # 1xx heads before a final one

cdef const char* HTTP = b"http"
cdef const char* HTTPS = b"https"
cdef const char* ENDED = b"the connection ended"
cdef http2_role_t CLIENT_ROLE

# ---- birth


cdef http2_t* make_session(connection_t* connection) noexcept nogil:
    cdef http2_t* http2 = http2_session_new(connection, &CLIENT_ROLE)
    if http2 == NULL:
        return NULL
    http2.streams_max = connection.endpoint.streams_max
    http2.head_max_bytes = HEAD_MAX_BYTES
    http2.header_max_count = HEADER_MAX_COUNT
    connection.client = &HTTP2_CLIENT
    connection.events = &HTTP2_CLIENT.events
    connection.protocol = PROTOCOL_HTTP2
    pool_share(connection)
    if connection.state == CONNECTION_OPEN:
        http2_send_preface(http2, 0, HEAD_MAX_BYTES)
    return http2


cdef void http2_client_adopt(connection_t* connection) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    connection.exchange = NULL
    connection.deadline_ms = 0
    if exchange != NULL:
        attach(exchange)


# ---- a request


cdef void attach(exchange_t* exchange) noexcept nogil:
    cdef connection_t* connection = exchange.upstream
    cdef http2_t* http2 = connection.http2
    cdef http2_stream_t* stream = NULL
    if http2 == NULL:
        http2 = make_session(connection)
        if http2 == NULL:
            pool_discard(connection)
            exchange_upstream_failed(exchange, REASON_OVERLOADED, b"no memory for a connection", PROOF_NONE)
            return
    stream = http2_stream_new(http2)
    if stream == NULL:
        exchange_upstream_failed(exchange, REASON_OVERLOADED, b"no memory for a stream", PROOF_NONE)
        return
    stream.exchange = exchange
    exchange.up_stream = stream
    http2.rest_ms = exchange.destination.service.pool_idle_timeout_ms
    if connection.state != CONNECTION_OPEN or is_early(http2, exchange):
        http2_wait(stream)
    else:
        connect(stream)


cdef inline bint is_early(const http2_t* http2, const exchange_t* exchange) noexcept nogil:
    return exchange.request.flags & HEAD_UPGRADE and not http2.flags & SESSION_HAS_SETTINGS


cdef void connect(http2_stream_t* stream) noexcept nogil:
    cdef exchange_t* exchange = stream.exchange
    if exchange.request.flags & HEAD_UPGRADE and not stream.session.flags & SESSION_TAKES_CONNECT:
        http2_stream_change(stream, STREAM_RESETS)
        exchange_upstream_failed(exchange, REASON_UPGRADE_REFUSED, b"no extended CONNECT there", PROOF_NONE)
        return
    exchange_connected(exchange)


cdef void connect_waiting(http2_t* http2) noexcept nogil:
    """Those that wait to begin, as far as they now may."""
    cdef uint32_t left = http2.stream_count
    cdef http2_stream_t* stream
    while left > 0 and http2.waiting != NULL and http2.connection.state == CONNECTION_OPEN:
        left -= 1
        stream = http2.waiting
        if stream.id == 0 and not is_early(http2, stream.exchange):
            http2_stop_waiting(stream)
            connect(stream)
        else:
            http2.waiting = stream.next_waiting


cdef void send_head(exchange_t* exchange, bint is_end) noexcept nogil:
    cdef http2_stream_t* stream = exchange.up_stream
    cdef connection_t* connection = exchange.upstream
    cdef http2_t* http2 = stream.session
    cdef char* out
    http2.last_stream_id += 2 if http2.last_stream_id else 1
    if http2_stream_begin(stream, http2.last_stream_id) < 0:
        connection.io |= IO_BROKEN      # no memory
        connection_wake(connection)
        return
    if exchange.request.flags & HEAD_UPGRADE or exchange.request.method_id == METHOD_CONNECT:
        stream.flags |= STREAM_IS_TUNNEL
        websocket_hide_key(&exchange.request)
        is_end = False
    out = http2_block_room(http2, http2_request_bound(&exchange.request))
    if out == NULL:
        return
    http2_block_done(
        http2, stream.id, http2_write_request(&exchange.request, HTTPS if connection.tls != NULL else HTTP, out), is_end
    )
    if is_end:
        http2_local_ended(stream)


cdef void send_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    if exchange.up_stream != NULL:
        http2_send_data(exchange.up_stream, data, length)


cdef void send_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    if exchange.up_stream != NULL:
        http2_send_end(exchange.up_stream, trailers)


cdef void cancel(exchange_t* exchange) noexcept nogil:
    cdef http2_stream_t* stream = exchange.up_stream
    exchange.upstream = NULL
    if stream != NULL:
        http2_stream_reset(stream, HTTP2_CANCEL)


cdef bint is_blocked(exchange_t* exchange) noexcept nogil:
    return exchange.up_stream != NULL and http2_is_blocked(exchange.up_stream)


cdef void resume(exchange_t* exchange) noexcept nogil:
    if exchange.up_stream != NULL:
        http2_session_resume(exchange.up_stream)


cdef void on_stream_drained(exchange_t* exchange) noexcept nogil:
    exchange_upstream_drained(exchange)


# ---- a response


cdef void on_head(
    http2_t* http2, http2_stream_t* stream, uint32_t stream_id, const char* block, size_t length, bint is_end
) noexcept nogil:
    cdef http2_head_limits_t limits
    cdef const char* detail = b""
    cdef head_t head
    cdef int result
    http2_scratch(http2, &head, &limits)
    result = http2_read_response(&http2.decoder, block, length, is_end, &limits, &head, &detail)
    if http2_is_lost(http2, result):
        return
    if result < 0:
        http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, detail)
        return
    if head.status < 200:
        stream.informational += 1
        if stream.informational > INFORMATIONAL_MAX:
            http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"too many informational responses")
        else:
            exchange_response_head(stream.exchange, &head)
        return
    stream.flags |= STREAM_HEAD_DONE
    if not frame_body(stream, &head):
        http2_fail_stream(stream, HTTP2_PROTOCOL_ERROR, b"no room for the upgrade")
        return
    exchange_response_head(stream.exchange, &head)
    if is_end and stream.state != HTTP2_CLOSED:
        http2_remote_end(stream, NULL)


cdef bint frame_body(http2_stream_t* stream, head_t* head) noexcept nogil:
    """How the body is delimited, or that there is a tunnel instead. False: no room in the head."""
    cdef exchange_t* exchange = stream.exchange
    if stream.flags & STREAM_IS_TUNNEL:
        if 200 <= head.status < 300:
            head.framing = FRAMING_NONE
            return not exchange.request.flags & HEAD_UPGRADE or websocket_complete(&exchange.request, head) == 0
        stream.flags &= ~STREAM_IS_TUNNEL
        http2_send_end(stream, NULL)    # refused: nothing follows the request
    if exchange.request.method_id == METHOD_HEAD:
        head.framing = FRAMING_NONE
    if head.framing == FRAMING_NONE or head.framing == FRAMING_LENGTH:
        stream.flags |= STREAM_HAS_LENGTH
        stream.body_left = head.content_length if head.framing == FRAMING_LENGTH else 0
    return True


cdef bint takes_body(http2_stream_t* stream) noexcept nogil:
    return not stream.exchange.downstream.server.blocked(stream.exchange)


cdef void on_body(http2_stream_t* stream, const char* data, size_t length) noexcept nogil:
    exchange_response_body(stream.exchange, data, length)


cdef bint on_end(http2_stream_t* stream, head_t* trailers) noexcept nogil:
    """First let go of the stream, so that the connection has room for the next."""
    cdef exchange_t* exchange = stream.exchange
    if exchange.flags & EXCHANGE_TUNNEL:
        http2_stream_change(stream, STREAM_REMOTE_ENDS)
        exchange_response_end(exchange, NULL)
        return True
    exchange.upstream = NULL
    http2_guard_completed(stream.session)
    if stream.state == HTTP2_HALF_LOCAL:
        http2_stream_change(stream, STREAM_REMOTE_ENDS)
    else:
        http2_stream_reset(stream, HTTP2_CANCEL)    # an early answer: the rest of the request is of no use
    exchange_response_end(exchange, trailers)
    return True


cdef void on_reset(
    http2_t* http2, exchange_t* exchange, uint32_t code, bint by_peer, const char* detail
) noexcept nogil:
    cdef uint8_t reason = REASON_UPSTREAM_MALFORMED
    if by_peer and code == HTTP2_REFUSED_STREAM:
        exchange_upstream_failed(exchange, REASON_UPSTREAM_REFUSED, detail, PROOF_UNPROCESSED)
        return
    if by_peer:
        reason = REASON_UPSTREAM_TRUNCATED if exchange.flags & EXCHANGE_RESPONSE_STARTED else REASON_UPSTREAM_RESET
    exchange_upstream_failed(exchange, reason, detail, PROOF_NONE)


# ---- the end of the connection


cdef void on_settings(http2_t* http2) noexcept nogil:
    http2.connection.endpoint.streams_max = http2.streams_max
    connect_waiting(http2)


cdef void on_ping_ack(http2_t* http2) noexcept nogil:
    pass                                # we send none


cdef http2_stream_t* find_refused(const http2_t* http2, uint32_t last_stream_id) noexcept nogil:
    cdef http2_stream_t* stream = http2.waiting
    cdef uint32_t i
    cdef uint32_t _i
    for _i in range(http2.stream_count if stream != NULL else 0):
        if stream.id == 0:
            return stream
        stream = stream.next_waiting
    for i in range(http2.bucket_count):
        stream = http2.buckets[i]
        while stream != NULL:
            if stream.id > last_stream_id:
                return stream
            stream = stream.next
    return NULL


cdef void on_goaway(http2_t* http2, uint32_t last_stream_id, uint32_t code) noexcept nogil:
    """What the endpoint will not look at goes elsewhere; the rest it finishes (RFC 9113 6.8)."""
    cdef http2_stream_t* stream
    cdef exchange_t* exchange
    http2.flags |= SESSION_HEARD_GOAWAY
    pool_unshare(http2.connection)
    stream = find_refused(http2, last_stream_id)
    while stream != NULL:
        exchange = stream.exchange
        http2_stream_change(stream, STREAM_RESETS)
        if exchange != NULL:
            exchange_upstream_failed(exchange, REASON_UPSTREAM_REFUSED, b"GOAWAY", PROOF_UNPROCESSED)
        stream = find_refused(http2, last_stream_id)
    if http2.connection.state == CONNECTION_OPEN and http2.stream_count == 0:
        pool_discard(http2.connection)


cdef void say_goodbye(http2_t* http2) noexcept nogil:
    http2_send_goaway(http2, 0, HTTP2_NO_ERROR, b"")
    connection_flush(http2.connection)
    pool_discard(http2.connection)


cdef void on_quiet(http2_t* http2) noexcept nogil:
    if not pool_rest(http2.connection):
        say_goodbye(http2)
        return
    http2.quiet_due_ms = http2.connection.worker.now_ms + http2.rest_ms if http2.rest_ms else 0
    http2_arm(http2)


cdef void fail_all(http2_t* http2, uint8_t reason, const char* detail) noexcept nogil:
    """The connection is closed. What was silent may be tried again, where it is sure to do no harm."""
    cdef http2_stream_t* stream = http2_stream_any(http2)
    cdef exchange_t* exchange
    cdef uint8_t proof
    cdef uint8_t why
    while stream != NULL:
        exchange = stream.exchange
        proof = PROOF_UNPROCESSED if stream.id == 0 else PROOF_SILENT
        if stream.flags & STREAM_HEAD_DONE or stream.informational:
            proof = PROOF_NONE
        http2_stream_change(stream, STREAM_RESETS)
        if exchange != NULL:
            why = reason
            if reason == REASON_UPSTREAM_RESET and exchange.flags & EXCHANGE_RESPONSE_STARTED:
                why = REASON_UPSTREAM_TRUNCATED
            exchange_upstream_failed(exchange, why, detail, proof)
        stream = http2_stream_any(http2)


cdef void on_over(http2_t* http2, const char* detail) noexcept nogil:
    connection_flush(http2.connection)
    pool_discard(http2.connection)
    fail_all(http2, REASON_UPSTREAM_MALFORMED, detail)


# ---- events of the connection


cdef void on_connected(connection_t* connection) noexcept nogil:
    connection.deadline_ms = 0
    if connection.tls != NULL and tls_protocol(connection.tls) == PROTOCOL_HTTP1:
        connection.endpoint.protocol = PROTOCOL_HTTP1   # it has changed its mind: AUTO tries again, with HTTP/1
        pool_discard(connection)
        fail_all(connection.http2, REASON_UPGRADE_REFUSED, b"the endpoint speaks HTTP/1 now")
        return
    http2_send_preface(connection.http2, 0, HEAD_MAX_BYTES)
    connect_waiting(connection.http2)


cdef void on_input(connection_t* connection) noexcept nogil:
    http2_session_on_input(connection.http2)


cdef void on_drained(connection_t* connection) noexcept nogil:
    http2_pump(connection.http2)


cdef void not_connected(connection_t* connection, uint8_t reason, const char* detail) noexcept nogil:
    cdef http2_stream_t* first = http2_stream_any(connection.http2)
    if first != NULL and first.exchange != NULL:
        first.exchange.destination.service.stats.connect_failures += 1
    connection.endpoint.stats.connect_failures += 1
    pool_discard(connection)
    fail_all(connection.http2, reason, detail)


cdef void on_broken(connection_t* connection, int error) noexcept nogil:
    cdef const char* detail = ENDED
    if error:
        detail = strerror(error)
    if connection.state == CONNECTION_SECURING:
        not_connected(connection, REASON_UPSTREAM_TLS, connection.tls.detail)
        return
    if connection.state != CONNECTION_OPEN:
        not_connected(connection, REASON_CONNECT_FAILED, strerror(error))
        return
    pool_discard(connection)
    fail_all(connection.http2, REASON_UPSTREAM_RESET, detail)


cdef void on_deadline(connection_t* connection) noexcept nogil:
    cdef http2_t* http2 = connection.http2
    if connection.state != CONNECTION_OPEN:
        not_connected(connection, REASON_CONNECT_TIMEOUT, b"")
        return
    http2_on_deadline(http2)
    if connection.state != CONNECTION_OPEN:
        return
    if http2.quiet_due_ms and http2.quiet_due_ms <= connection.worker.now_ms:
        say_goodbye(http2)              # rested too long
    else:
        http2_arm(http2)


CLIENT_ROLE.on_head = on_head
CLIENT_ROLE.takes_body = takes_body
CLIENT_ROLE.on_body = on_body
CLIENT_ROLE.on_end = on_end
CLIENT_ROLE.on_reset = on_reset
CLIENT_ROLE.on_drained = on_stream_drained
CLIENT_ROLE.on_settings = on_settings
CLIENT_ROLE.on_ping_ack = on_ping_ack
CLIENT_ROLE.on_goaway = on_goaway
CLIENT_ROLE.on_quiet = on_quiet
CLIENT_ROLE.on_over = on_over
HTTP2_CLIENT.events.on_connected = on_connected
HTTP2_CLIENT.events.on_input = on_input
HTTP2_CLIENT.events.on_drained = on_drained
HTTP2_CLIENT.events.on_broken = on_broken
HTTP2_CLIENT.events.on_deadline = on_deadline
HTTP2_CLIENT.protocol = PROTOCOL_HTTP2
HTTP2_CLIENT.multiplexes = True
HTTP2_CLIENT.attach = attach
HTTP2_CLIENT.head = send_head
HTTP2_CLIENT.body = send_body
HTTP2_CLIENT.end = send_end
HTTP2_CLIENT.cancel = cancel
HTTP2_CLIENT.blocked = is_blocked
HTTP2_CLIENT.resume = resume
