"""HTTP/1 towards endpoints: exchange events into bytes of an upstream connection, and back (RFC 9112).

The phases of the input (http1_phase_t):

    HEAD -> HEAD                                                       1xx
    HEAD -> BODY_LENGTH | BODY_CHUNKED | BODY_CLOSE -> (complete)      then the connection is pooled, or ends
    HEAD -> (complete)                                                 no body
    HEAD -> TUNNEL -> COMPLETE                                         after 101
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset, strerror

from fastmesh._core.buffers cimport buffer_give
from fastmesh._core.connection cimport (
    READ_END,
    READ_MIN_BYTES,
    READ_NOTHING,
    connection_commit,
    connection_flush,
    connection_is_blocked,
    connection_keep,
    connection_read,
    connection_reserve,
    connection_shut,
    connection_wake,
)
from fastmesh._core.exchange cimport (
    exchange_connected,
    exchange_is_tunnel_answer,
    exchange_response_body,
    exchange_response_end,
    exchange_response_head,
    exchange_upstream_drained,
    exchange_upstream_failed,
    exchange_upstream_gone,
)
from fastmesh._core.headers cimport (
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    HEAD_KEEP_ALIVE,
    HEAD_UPGRADE,
    head_t,
)
from fastmesh._core.http1_body cimport http1_send_body, http1_send_body_end
from fastmesh._core.http1_chunked cimport CHUNKED_DONE, chunked_decode, chunked_init, chunked_release
from fastmesh._core.http1_parser cimport (
    http1_error_name,
    http1_find_head_end,
    http1_limits_t,
    http1_parse_response,
    http1_parse_trailers,
)
from fastmesh._core.http1_writer cimport http1_head_bound, http1_write_request
from fastmesh._core.http2_client cimport http2_client_adopt
from fastmesh._core.live cimport (
    CONNECTION_CONNECTING,
    CONNECTION_OPEN,
    CONNECTION_SECURING,
    EXCHANGE_REQUEST_SENT,
    EXCHANGE_TUNNEL,
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_CLOSE,
    HTTP1_BODY_LENGTH,
    HTTP1_COMPLETE,
    HTTP1_HEAD,
    HTTP1_TUNNEL,
    IO_BROKEN,
    IO_READABLE,
    IO_WRITE_BROKEN,
    PROOF_NONE,
    PROOF_SILENT,
    PROOF_UNPROCESSED,
    PROTOCOL_HTTP1,
    PROTOCOL_HTTP2,
    connection_t,
    exchange_t,
    http1_t,
)
from fastmesh._core.pool cimport pool_discard, pool_give
from fastmesh._core.reason cimport (
    REASON_CONNECT_FAILED,
    REASON_CONNECT_TIMEOUT,
    REASON_UPSTREAM_MALFORMED,
    REASON_UPSTREAM_RESET,
    REASON_UPSTREAM_TLS,
    REASON_UPSTREAM_TRUNCATED,
)
from fastmesh._core.tls cimport tls_protocol
from fastmesh._core.websocket cimport websocket_accepts, websocket_add_key

cdef enum:
    READS_PER_TURN = 8
    SCRATCH_HEADERS = 1024
    INFORMATIONAL_MAX = 16              # 1xx heads before a final one

cdef http1_limits_t LIMITS
LIMITS.start_line_max_bytes = 16384
LIMITS.head_max_bytes = 131072
LIMITS.header_max_count = 500

cdef const char* NO_RESPONSE = b"before the response"
cdef const char* IN_TCP = b""
cdef const char* IN_TLS = b"in the TLS handshake"
cdef const char* PART_OF_HEAD = b"within the response head"

# ---- output


cdef void attach(exchange_t* exchange) noexcept nogil:
    exchange.upstream.exchange = exchange
    if exchange.upstream.state == CONNECTION_OPEN:
        exchange_connected(exchange)


cdef void send_head(exchange_t* exchange, bint is_end) noexcept nogil:
    cdef connection_t* connection = exchange.upstream
    cdef http1_t* http1 = &connection.http1
    cdef char* out
    if exchange.request.flags & HEAD_UPGRADE and websocket_add_key(&exchange.request, &connection.worker.random) < 0:
        connection.io |= IO_BROKEN      # no room in the head
        connection_wake(connection)
        return
    out = connection_reserve(connection, http1_head_bound(&exchange.request))
    http1.phase = HTTP1_HEAD
    http1.scanned = 0
    http1.discarded = 0
    http1.in_message = 0
    http1.out_framing = exchange.request.framing
    connection.deadline_ms = 0
    if out != NULL:
        connection_commit(connection, http1_write_request(&exchange.request, out))


cdef void send_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    http1_send_body(exchange.upstream, data, length)


cdef void send_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    if exchange.flags & EXCHANGE_TUNNEL:
        connection_shut(exchange.upstream)
    else:
        http1_send_body_end(exchange.upstream, trailers)


cdef void cancel(exchange_t* exchange) noexcept nogil:
    cdef connection_t* connection = exchange.upstream
    exchange.upstream = NULL
    connection.exchange = NULL
    if connection.state == CONNECTION_OPEN and exchange.flags & EXCHANGE_TUNNEL:
        connection_flush(connection)
    pool_discard(connection)


cdef bint is_blocked(exchange_t* exchange) noexcept nogil:
    return connection_is_blocked(exchange.upstream)


cdef void resume(exchange_t* exchange) noexcept nogil:
    connection_wake(exchange.upstream)


# ---- input


cdef void on_input(connection_t* connection) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    cdef char* data
    cdef uint64_t room
    cdef int64_t got
    cdef int _
    if exchange == NULL:
        pool_discard(connection)        # idle: whatever comes now is not for anyone
        return
    for _ in range(READS_PER_TURN):
        if not connection.io & IO_READABLE or connection.http1.phase == HTTP1_COMPLETE:
            return
        if exchange.downstream.server.blocked(exchange):
            connection.read_bytes = READ_MIN_BYTES      # a slow client: what one read brings waits in our memory
            return
        got = connection_read(connection, &data, &room)
        if got <= 0:
            on_input_end(connection, got)
            return
        connection.http1.in_message = 1
        consume(connection, data, <size_t>got, room)
        if connection.state != CONNECTION_OPEN or connection.exchange != exchange:
            return
    connection_wake(connection)


cdef void consume(connection_t* connection, char* data, size_t length, size_t room) noexcept nogil:
    cdef size_t consumed = process(connection, data, length, room)
    if connection.state != CONNECTION_OPEN or connection.exchange == NULL:
        return
    if connection_keep(connection, data, consumed, length) < 0:
        failed(connection, REASON_UPSTREAM_RESET, b"no memory for the response")


cdef void on_input_end(connection_t* connection, int64_t result) noexcept nogil:
    cdef uint8_t phase = connection.http1.phase
    if result == READ_NOTHING:
        if connection.io & IO_WRITE_BROKEN:
            failed(connection, REASON_UPSTREAM_RESET, b"the endpoint stopped reading")
    elif phase == HTTP1_HEAD:
        failed(connection, REASON_UPSTREAM_RESET, NO_RESPONSE if connection.input == NULL else PART_OF_HEAD)
    elif phase == HTTP1_BODY_CLOSE and result == READ_END:
        complete(connection, NULL, False)
    elif phase == HTTP1_TUNNEL:
        connection.http1.phase = HTTP1_COMPLETE
        exchange_response_end(connection.exchange, NULL)
    else:
        failed(connection, REASON_UPSTREAM_TRUNCATED, b"within the response body")


cdef size_t process(connection_t* connection, char* data, size_t length, size_t room) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    cdef size_t at = 0
    cdef size_t used
    cdef uint8_t phase
    while at < length:
        phase = connection.http1.phase
        if phase == HTTP1_HEAD:
            used = process_head(connection, data + at, length - at, room - at)
        elif phase == HTTP1_BODY_LENGTH:
            used = process_length(connection, data + at, length - at)
        elif phase == HTTP1_BODY_CHUNKED:
            used = process_chunked(connection, data + at, length - at)
        else:                           # BODY_CLOSE, TUNNEL: to the end of the connection
            exchange_response_body(exchange, data + at, length - at)
            used = length - at
        at += used
        if used == 0 or connection.state != CONNECTION_OPEN or connection.exchange != exchange:
            return at
    return at


cdef size_t process_head(connection_t* connection, char* data, size_t length, size_t room) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    cdef http1_t* http1 = &connection.http1
    cdef head_t head
    cdef int error
    cdef ssize_t head_length = http1_find_head_end(data, length, &http1.scanned, &LIMITS)
    if head_length == 0:
        return 0
    http1.scanned = 0
    if head_length < 0:
        failed(connection, REASON_UPSTREAM_MALFORMED, http1_error_name(<int>head_length))
        return length
    memset(&head, 0, sizeof(head))
    head.headers = connection.worker.scratch_headers
    head.capacity = SCRATCH_HEADERS
    error = http1_parse_response(data, <size_t>head_length, &LIMITS, exchange.request.method_id, &head)
    if error < 0:
        failed(connection, REASON_UPSTREAM_MALFORMED, http1_error_name(error))
        return length
    if not is_expected(exchange, &head):
        failed(connection, REASON_UPSTREAM_MALFORMED, b"an informational response that nobody asked for")
        return length
    # Fields are appended behind all that was received: the buffer has room there.
    head.text_len = <uint32_t>length
    head.text_cap = <uint32_t>room
    start_body(connection, &head)
    exchange_response_head(exchange, &head)
    if head_is_whole(connection, &head):
        complete(connection, NULL, <size_t>head_length < length)
    return <size_t>head_length


cdef bint is_expected(exchange_t* exchange, head_t* head) noexcept nogil:
    if head.status == 101:
        return (
            exchange.request.flags & HEAD_UPGRADE and head.flags & HEAD_UPGRADE
            and websocket_accepts(&exchange.request, head)
        )
    if head.status >= 200:
        return True
    exchange.upstream.http1.discarded += 1
    return exchange.upstream.http1.discarded <= INFORMATIONAL_MAX


cdef void start_body(connection_t* connection, head_t* head) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    http1.keep_alive = head.flags & HEAD_KEEP_ALIVE
    if exchange_is_tunnel_answer(connection.exchange, head):
        http1.phase = HTTP1_TUNNEL
        http1.out_framing = FRAMING_CLOSE
    elif head.framing == FRAMING_LENGTH and head.content_length > 0:
        http1.phase = HTTP1_BODY_LENGTH
        http1.remaining = head.content_length
    elif head.framing == FRAMING_CHUNKED:
        http1.phase = HTTP1_BODY_CHUNKED
        chunked_init(&http1.chunked)
    elif head.framing == FRAMING_CLOSE:
        http1.phase = HTTP1_BODY_CLOSE
        http1.keep_alive = 0


cdef bint head_is_whole(connection_t* connection, head_t* head) noexcept nogil:
    return connection.http1.phase == HTTP1_HEAD and head.status >= 200


cdef size_t process_length(connection_t* connection, char* data, size_t length) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef size_t used = length if length < http1.remaining else <size_t>http1.remaining
    http1.remaining -= used
    exchange_response_body(connection.exchange, data, used)
    if http1.remaining == 0:
        complete(connection, NULL, used < length)
    return used


cdef size_t process_chunked(connection_t* connection, char* data, size_t length) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef size_t used = 0
    cdef size_t begin_at = 0
    cdef size_t body = 0
    cdef int result = chunked_decode(&http1.chunked, data, length, &used, &begin_at, &body)
    if body:
        exchange_response_body(connection.exchange, data + begin_at, body)
    if result < 0:
        failed(connection, REASON_UPSTREAM_MALFORMED, http1_error_name(result))
        return length
    if result == CHUNKED_DONE:
        end_with_trailers(connection, used < length)
    return used


cdef void end_with_trailers(connection_t* connection, bint has_more) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef head_t trailers
    cdef int error
    if http1.chunked.trailer_len == 0:
        complete(connection, NULL, has_more)
    else:
        memset(&trailers, 0, sizeof(trailers))
        trailers.headers = connection.worker.scratch_headers
        trailers.capacity = SCRATCH_HEADERS
        error = http1_parse_trailers(http1.chunked.trailer, http1.chunked.trailer_len, &LIMITS, &trailers)
        if error < 0:
            failed(connection, REASON_UPSTREAM_MALFORMED, http1_error_name(error))
        else:
            complete(connection, &trailers, has_more)
    chunked_release(&http1.chunked)


cdef void complete(connection_t* connection, head_t* trailers, bint has_more) noexcept nogil:
    """The response is whole: first let go of the connection, so that the next request may use it."""
    cdef exchange_t* exchange = connection.exchange
    cdef bint is_clean = (
        connection.http1.keep_alive
        and exchange.flags & EXCHANGE_REQUEST_SENT
        and not has_more
        and connection.output_bytes == 0
    )
    connection.exchange = NULL
    connection.http1.phase = HTTP1_HEAD
    exchange.upstream = NULL
    if connection.input != NULL:
        buffer_give(connection.worker, connection.input)
        connection.input = NULL
    if is_clean:
        pool_give(connection, exchange.destination.service)
    else:
        pool_discard(connection)
    exchange_response_end(exchange, trailers)


cdef void failed(connection_t* connection, uint8_t reason, const char* detail) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    cdef uint8_t proof = PROOF_NONE if connection.http1.in_message else PROOF_SILENT
    if connection.state != CONNECTION_OPEN:
        proof = PROOF_UNPROCESSED           # nothing was sent: another endpoint's pool will do
    connection.exchange = NULL
    pool_discard(connection)
    exchange_upstream_failed(exchange, reason, detail, proof)


# ---- events of the connection


cdef void on_connected(connection_t* connection) noexcept nogil:
    connection.deadline_ms = 0
    if connection.tls != NULL and tls_protocol(connection.tls) == PROTOCOL_HTTP2:
        connection.endpoint.protocol = PROTOCOL_HTTP2   # those that follow begin with it
        http2_client_adopt(connection)
    else:
        exchange_connected(connection.exchange)


cdef void on_drained(connection_t* connection) noexcept nogil:
    if connection.exchange != NULL:
        exchange_upstream_drained(connection.exchange)


cdef void on_broken(connection_t* connection, int error) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    if exchange == NULL:
        pool_discard(connection)
    elif connection.state == CONNECTION_CONNECTING:
        exchange.destination.service.stats.connect_failures += 1
        connection.endpoint.stats.connect_failures += 1
        failed(connection, REASON_CONNECT_FAILED, strerror(error))
    elif connection.state == CONNECTION_SECURING:
        exchange.destination.service.stats.connect_failures += 1
        connection.endpoint.stats.connect_failures += 1
        failed(connection, REASON_UPSTREAM_TLS, connection.tls.detail)
    elif connection.http1.phase == HTTP1_COMPLETE:
        connection.exchange = NULL
        pool_discard(connection)
        exchange_upstream_gone(exchange)
    elif connection.http1.phase == HTTP1_TUNNEL:
        connection.exchange = NULL
        pool_discard(connection)
        exchange_upstream_failed(exchange, REASON_UPSTREAM_RESET, strerror(error), PROOF_NONE)
    elif connection.http1.phase == HTTP1_HEAD:
        failed(connection, REASON_UPSTREAM_RESET, strerror(error))
    else:
        failed(connection, REASON_UPSTREAM_TRUNCATED, strerror(error))


cdef void on_deadline(connection_t* connection) noexcept nogil:
    if connection.exchange == NULL:
        pool_discard(connection)        # rested too long
    elif connection.state == CONNECTION_CONNECTING or connection.state == CONNECTION_SECURING:
        connection.exchange.destination.service.stats.connect_failures += 1
        connection.endpoint.stats.connect_failures += 1
        failed(connection, REASON_CONNECT_TIMEOUT, IN_TCP if connection.state == CONNECTION_CONNECTING else IN_TLS)


HTTP1_CLIENT.events.on_connected = on_connected
HTTP1_CLIENT.events.on_input = on_input
HTTP1_CLIENT.events.on_drained = on_drained
HTTP1_CLIENT.events.on_broken = on_broken
HTTP1_CLIENT.events.on_deadline = on_deadline
HTTP1_CLIENT.protocol = PROTOCOL_HTTP1
HTTP1_CLIENT.attach = attach
HTTP1_CLIENT.head = send_head
HTTP1_CLIENT.body = send_body
HTTP1_CLIENT.end = send_end
HTTP1_CLIENT.cancel = cancel
HTTP1_CLIENT.blocked = is_blocked
HTTP1_CLIENT.resume = resume
