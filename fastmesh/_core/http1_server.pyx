"""HTTP/1 towards clients: bytes of a downstream connection into exchange events, and back (RFC 9112).

The phases of the input (http1_phase_t):

    HEAD -> BODY_LENGTH | BODY_CHUNKED -> COMPLETE -> HEAD     one exchange after the other, pipelined or not
    HEAD -> COMPLETE                                           no body
    COMPLETE -> TUNNEL                                         after 101
    any  -> REFUSED                                            no more sense in the input

When an exchange ends before its request has (an early answer), the rest of the body is read and thrown away, up to a
limit; beyond it the connection closes.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from fastmesh._core.buffers cimport buffer_data
from fastmesh._core.connection cimport (
    READ_END,
    READ_NOTHING,
    connection_close,
    connection_finish,
    connection_flush,
    connection_is_blocked,
    connection_keep,
    connection_read,
    connection_set_deadline,
    connection_shut,
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
from fastmesh._core.hashing cimport splitmix64
from fastmesh._core.headers cimport (
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    HEAD_KEEP_ALIVE,
    head_t,
)
from fastmesh._core.http1_body cimport http1_send_body, http1_send_body_end
from fastmesh._core.http1_chunked cimport CHUNKED_DONE, chunked_decode, chunked_init, chunked_release
from fastmesh._core.http1_parser cimport (
    HTTP1_HEAD_TOO_LARGE,
    HTTP1_START_LINE_TOO_LONG,
    HTTP1_TOO_MANY_HEADERS,
    HTTP1_VERSION_NOT_SUPPORTED,
    http1_error_name,
    http1_find_head_end,
    http1_parse_request,
    http1_parse_trailers,
    http1_skip_empty_lines,
)
from fastmesh._core.http1_response cimport http1_send_informational, http1_send_response_head
from fastmesh._core.http2_frames cimport HTTP2_PREFACE, HTTP2_PREFACE_BYTES
from fastmesh._core.http2_server cimport http2_server_adopt
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    EXCHANGE_BAD,
    EXCHANGE_TUNNEL,
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_LENGTH,
    HTTP1_COMPLETE,
    HTTP1_HEAD,
    HTTP1_REFUSED,
    HTTP1_TUNNEL,
    IO_READABLE,
    PROTOCOL_HTTP1,
    exchange_t,
    http1_t,
    listener_entry_t,
    worker_t,
)
from fastmesh._core.reason cimport (
    REASON_BAD_REQUEST,
    REASON_HEAD_TIMEOUT,
    REASON_HEAD_TOO_LARGE,
    REASON_OVERLOADED,
    REASON_URI_TOO_LONG,
    REASON_VERSION_NOT_SUPPORTED,
)

cdef enum:
    DISCARD_MAX_BYTES = 262144          # of a body whose answer was early
    DISCARD_MS = 5000
    READS_PER_TURN = 8                  # then others get theirs
    SCRATCH_HEADERS = 1024
    OUTPUT_MAX_BYTES = 65536            # of answers of our own, before they are sent

# ---- birth


cdef void http1_server_adopt(connection_t* connection) noexcept nogil:
    connection.server = &HTTP1_SERVER
    connection.events = &HTTP1_SERVER.events
    connection.protocol = PROTOCOL_HTTP1
    connection.http1.phase = HTTP1_HEAD
    if connection.listener.entry == NULL:
        close_now(connection)
        return
    connection_set_deadline(connection, connection.worker.now_ms + connection.listener.entry.idle_timeout_ms)
    connection_wake(connection)


# ---- input


cdef void on_input(connection_t* connection) noexcept nogil:
    cdef char* data
    cdef uint64_t room
    cdef int64_t got
    cdef int _
    if connection.input != NULL and wants_input(connection):
        data = buffer_data(connection.input) + connection.input.begin
        consume(connection, data, connection.input.end - connection.input.begin)
    for _ in range(READS_PER_TURN):
        if connection.state != CONNECTION_OPEN or not connection.io & IO_READABLE or not wants_input(connection):
            return
        got = connection_read(connection, &data, &room)
        if got == READ_NOTHING:
            return
        if got < 0:
            on_input_end(connection, got == READ_END)
            return
        consume(connection, data, <size_t>got)
    connection_wake(connection)


cdef bint wants_input(connection_t* connection) noexcept nogil:
    cdef uint8_t phase = connection.http1.phase
    if phase == HTTP1_HEAD:
        # Who does not read our answers is not asked for more requests.
        return connection.exchange == NULL and not connection_is_blocked(connection)
    if phase == HTTP1_COMPLETE or phase == HTTP1_REFUSED:
        return False
    return connection.exchange == NULL or exchange_takes_body(connection.exchange)


cdef void consume(connection_t* connection, char* data, size_t length) noexcept nogil:
    cdef size_t consumed = process(connection, data, length)
    if connection.state != CONNECTION_OPEN:
        return
    if connection_keep(connection, data, consumed, length) < 0:
        close_now(connection)


cdef void on_input_end(connection_t* connection, bint is_clean) noexcept nogil:
    """The client has sent all it will (which is its right, once the request is whole), or is gone."""
    cdef exchange_t* exchange = connection.exchange
    if exchange != NULL and connection.http1.phase == HTTP1_TUNNEL and is_clean:
        connection.http1.phase = HTTP1_COMPLETE
        exchange_request_end(exchange, NULL)
        return
    close_now(connection)


cdef void close_now(connection_t* connection) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    connection.http1.phase = HTTP1_REFUSED
    connection_close(connection, False)
    if exchange != NULL:
        exchange_downstream_gone(exchange)


cdef size_t process(connection_t* connection, char* data, size_t length) noexcept nogil:
    """Turn bytes into events; how many were used up."""
    cdef size_t at = 0
    cdef size_t used
    cdef uint8_t phase
    while connection.state == CONNECTION_OPEN:
        phase = connection.http1.phase
        if phase == HTTP1_HEAD:
            used = process_head(connection, data + at, length - at)
        elif phase == HTTP1_BODY_LENGTH:
            used = process_length(connection, data + at, length - at)
        elif phase == HTTP1_BODY_CHUNKED:
            used = process_chunked(connection, data + at, length - at)
        elif phase == HTTP1_TUNNEL:
            used = process_tunnel(connection, data + at, length - at)
        else:
            return length if phase == HTTP1_REFUSED else at
        at += used
        if used == 0 or at == length:
            return at
    return length


# ---- input: the head


cdef size_t process_head(connection_t* connection, char* data, size_t length) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef worker_t* worker = connection.worker
    cdef size_t skipped
    cdef ssize_t head_length
    cdef int error
    cdef head_t head
    cdef listener_entry_t* entry = connection.listener.entry
    if connection.exchange != NULL:
        return 0                        # pipelined: its turn comes
    if connection.output_bytes > OUTPUT_MAX_BYTES and connection_is_blocked(connection):
        return 0                        # as in wants_input, within one read of many requests
    if entry == NULL:
        connection_finish(connection, True)
        return length
    if connection.requests == 0 and may_be_http2(connection, data, length):
        if length >= HTTP2_PREFACE_BYTES:
            http1.phase = HTTP1_COMPLETE        # nothing more is read here
            http2_server_adopt(connection)
            return 0
        wait_for_head(connection)
        return 0
    skipped = http1_skip_empty_lines(data, length)
    if skipped == length:
        return skipped
    head_length = http1_find_head_end(data + skipped, length - skipped, &http1.scanned, &entry.limits)
    if head_length == 0:
        wait_for_head(connection)
        return skipped
    http1.scanned = 0
    if head_length < 0:
        refuse(connection, <int>head_length)
        return length
    memset(&head, 0, sizeof(head))
    head.headers = worker.scratch_headers
    head.capacity = SCRATCH_HEADERS
    error = http1_parse_request(data + skipped, <size_t>head_length, &entry.limits, &head)
    if error < 0:
        refuse(connection, error)
        return length
    begin(connection, &head)
    return skipped + <size_t>head_length


cdef bint may_be_http2(connection_t* connection, const char* data, size_t length) noexcept nogil:
    """Whether a connection begins as HTTP/2 does (RFC 9113 3.3), as far as its bytes are here."""
    if connection.listener.entry.protocol == PROTOCOL_HTTP1:
        return False
    return memcmp(data, HTTP2_PREFACE, min(length, <size_t>HTTP2_PREFACE_BYTES)) == 0


cdef void wait_for_head(connection_t* connection) noexcept nogil:
    if not connection.http1.in_message:
        connection.http1.in_message = 1
        connection_set_deadline(connection, connection.worker.now_ms + connection.listener.entry.head_timeout_ms)


cdef bint has_aged(connection_t* connection) noexcept nogil:
    """Between 90% and 100% of the age, so that connections opened together do not end together."""
    cdef uint64_t age = connection.listener.entry.connection_age_max_ms
    cdef worker_t* worker = connection.worker
    if age == 0:
        return False
    if connection.expires_ms == 0:
        connection.expires_ms = worker.now_ms + age - age // 10 * (splitmix64(&worker.random) & 1023) // 1024
    return worker.now_ms >= connection.expires_ms


cdef void begin(connection_t* connection, head_t* head) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef exchange_t* exchange = exchange_new(connection)
    cdef uint32_t most = connection.listener.entry.connection_requests_max
    if exchange == NULL:
        close_now(connection)
        return
    connection.exchange = exchange
    connection.requests += 1
    connection.deadline_ms = 0
    http1.in_message = 0
    http1.out_framing = FRAMING_NONE
    http1.keep_alive = (
        head.flags & HEAD_KEEP_ALIVE
        and not connection.worker.is_draining
        and not connection.listener.is_removed
        and (most == 0 or connection.requests < most)
        and not has_aged(connection)
    )
    if head.framing == FRAMING_LENGTH and head.content_length > 0:
        http1.phase = HTTP1_BODY_LENGTH
        http1.remaining = head.content_length
    elif head.framing == FRAMING_CHUNKED:
        http1.phase = HTTP1_BODY_CHUNKED
        chunked_init(&http1.chunked)
    else:
        http1.phase = HTTP1_COMPLETE
    if exchange_set_request(exchange, head) < 0:
        exchange_refuse(exchange, REASON_OVERLOADED, b"no memory for the request head")
        return
    exchange_begin(exchange)


cdef uint8_t reason_of(int error) noexcept nogil:
    if error == HTTP1_START_LINE_TOO_LONG:
        return REASON_URI_TOO_LONG
    if error == HTTP1_HEAD_TOO_LARGE or error == HTTP1_TOO_MANY_HEADERS:
        return REASON_HEAD_TOO_LARGE
    if error == HTTP1_VERSION_NOT_SUPPORTED:
        return REASON_VERSION_NOT_SUPPORTED
    return REASON_BAD_REQUEST


cdef void refuse(connection_t* connection, int error) noexcept nogil:
    """Answer what made no sense, then close: where the next request would begin, nobody can tell."""
    refuse_with(connection, reason_of(error), http1_error_name(error))


cdef void refuse_with(connection_t* connection, uint8_t reason, const char* detail) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    connection.http1.phase = HTTP1_REFUSED
    connection.http1.keep_alive = 0
    connection.http1.in_message = 0
    connection.deadline_ms = 0
    if exchange == NULL:
        exchange = exchange_new(connection)
        if exchange == NULL:
            close_now(connection)
            return
        connection.exchange = exchange
    exchange_refuse(exchange, reason, detail)


# ---- input: the body


cdef bint discard(connection_t* connection, size_t length) noexcept nogil:
    """Throw body bytes away whose exchange has ended. False: it was too much, and the connection ends."""
    connection.http1.discarded += length
    if connection.http1.discarded <= DISCARD_MAX_BYTES:
        return True
    connection.http1.phase = HTTP1_REFUSED
    connection_finish(connection, True)
    return False


cdef void end_of_body(connection_t* connection, head_t* trailers) noexcept nogil:
    connection.http1.phase = HTTP1_COMPLETE
    if connection.exchange != NULL:
        exchange_request_end(connection.exchange, trailers)
    elif connection.http1.keep_alive:
        next_request(connection)
    else:
        connection_finish(connection, False)


cdef size_t process_length(connection_t* connection, char* data, size_t length) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef size_t used = length if length < http1.remaining else <size_t>http1.remaining
    if connection.exchange == NULL:
        if not discard(connection, used):
            return length
    elif not exchange_takes_body(connection.exchange):
        return 0
    elif not exchange_request_body(connection.exchange, data, used):
        http1.remaining -= used         # the exchange is over; what is left of the body is thrown away
        return used
    http1.remaining -= used
    if http1.remaining == 0:
        end_of_body(connection, NULL)
    return used


cdef size_t process_chunked(connection_t* connection, char* data, size_t length) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef size_t used = 0
    cdef size_t begin_at = 0
    cdef size_t body = 0
    cdef int result
    if connection.exchange != NULL and not exchange_takes_body(connection.exchange):
        return 0
    result = chunked_decode(&http1.chunked, data, length, &used, &begin_at, &body)
    if connection.exchange == NULL:
        if not discard(connection, used):
            return length
    elif body and not exchange_request_body(connection.exchange, data + begin_at, body):
        if connection.state != CONNECTION_OPEN:
            return length
    if result < 0:
        if connection.exchange == NULL:
            http1.phase = HTTP1_REFUSED
            connection_finish(connection, True)
        else:
            fail_body(connection, result)
        return length
    if result == CHUNKED_DONE:
        end_with_trailers(connection)
    return used


cdef void fail_body(connection_t* connection, int error) noexcept nogil:
    """The body makes no sense: the upstream must not take what it has for the whole."""
    connection.exchange.flags |= EXCHANGE_BAD
    if connection.exchange.upstream != NULL:
        connection.exchange.upstream.client.cancel(connection.exchange)
    if connection.http1.out_framing != FRAMING_NONE:
        close_now(connection)           # an answer is under way
        return
    refuse(connection, error)


cdef void end_with_trailers(connection_t* connection) noexcept nogil:
    cdef http1_t* http1 = &connection.http1
    cdef head_t trailers
    cdef int error = 0
    if http1.chunked.trailer_len == 0 or connection.exchange == NULL:
        chunked_release(&http1.chunked)
        end_of_body(connection, NULL)
        return
    memset(&trailers, 0, sizeof(trailers))
    trailers.headers = connection.worker.scratch_headers
    trailers.capacity = SCRATCH_HEADERS
    error = http1_parse_trailers(
        http1.chunked.trailer, http1.chunked.trailer_len, &connection.exchange.listener.limits, &trailers
    )
    if error < 0:
        fail_body(connection, error)
    else:
        end_of_body(connection, &trailers)
    chunked_release(&http1.chunked)


cdef size_t process_tunnel(connection_t* connection, char* data, size_t length) noexcept nogil:
    if connection.exchange == NULL or length == 0:
        return length
    if not exchange_takes_body(connection.exchange):
        return 0
    exchange_request_body(connection.exchange, data, length)
    return length


# ---- output


cdef void send_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    http1_send_body(exchange.downstream, data, length)


cdef void send_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    if exchange.flags & EXCHANGE_TUNNEL:
        connection_shut(exchange.downstream)
    else:
        http1_send_body_end(exchange.downstream, trailers)


cdef void abort_response(exchange_t* exchange) noexcept nogil:
    """End the connection so that the client sees that the response is not whole (RFC 9112 8)."""
    cdef connection_t* connection = exchange.downstream
    connection_flush(connection)
    connection.http1.phase = HTTP1_REFUSED
    connection_close(connection, connection.http1.out_framing == FRAMING_CLOSE)


cdef void detach(exchange_t* exchange) noexcept nogil:
    cdef connection_t* connection = exchange.downstream
    cdef http1_t* http1 = &connection.http1
    connection.exchange = NULL
    if connection.state != CONNECTION_OPEN:
        return
    if http1.phase == HTTP1_COMPLETE and http1.keep_alive:
        next_request(connection)
    elif http1.keep_alive and (http1.phase == HTTP1_BODY_LENGTH or http1.phase == HTTP1_BODY_CHUNKED):
        http1.discarded = 0
        connection_set_deadline(connection, connection.worker.now_ms + DISCARD_MS)
        connection_wake(connection)
    else:
        connection_finish(connection, http1.phase != HTTP1_COMPLETE or connection.input != NULL)


cdef void next_request(connection_t* connection) noexcept nogil:
    connection.http1.phase = HTTP1_HEAD
    connection.http1.in_message = 0
    if connection.listener.is_removed or connection.worker.is_draining or connection.listener.entry == NULL:
        connection_finish(connection, connection.input != NULL or connection.io & IO_READABLE)
        return
    connection_set_deadline(connection, connection.worker.now_ms + connection.listener.entry.idle_timeout_ms)
    if connection.input != NULL or connection.io & IO_READABLE:
        connection_wake(connection)


cdef bint is_blocked(exchange_t* exchange) noexcept nogil:
    return connection_is_blocked(exchange.downstream)


cdef void resume(exchange_t* exchange) noexcept nogil:
    connection_wake(exchange.downstream)


# ---- events of the connection


cdef void on_connected(connection_t* connection) noexcept nogil:
    pass                                # a downstream connection is born connected


cdef void on_drained(connection_t* connection) noexcept nogil:
    if connection.exchange != NULL:
        exchange_downstream_drained(connection.exchange)
    else:
        connection_wake(connection)     # the next request


cdef void on_broken(connection_t* connection, int error) noexcept nogil:
    close_now(connection)


cdef void on_deadline(connection_t* connection) noexcept nogil:
    if connection.exchange != NULL:
        return                          # the exchange has its own timeouts
    if connection.http1.phase == HTTP1_HEAD and connection.http1.in_message and connection.listener.entry != NULL:
        refuse_with(connection, REASON_HEAD_TIMEOUT, b"")
    else:
        close_now(connection)


cdef void drain(connection_t* connection) noexcept nogil:
    connection.http1.keep_alive = 0
    if connection.exchange == NULL and connection.http1.phase == HTTP1_HEAD and not connection.http1.in_message:
        connection_finish(connection, connection.io & IO_READABLE)


HTTP1_SERVER.events.on_connected = on_connected
HTTP1_SERVER.events.on_input = on_input
HTTP1_SERVER.events.on_drained = on_drained
HTTP1_SERVER.events.on_broken = on_broken
HTTP1_SERVER.events.on_deadline = on_deadline
HTTP1_SERVER.informational = http1_send_informational
HTTP1_SERVER.head = http1_send_response_head
HTTP1_SERVER.body = send_body
HTTP1_SERVER.end = send_end
HTTP1_SERVER.abort = abort_response
HTTP1_SERVER.detach = detach
HTTP1_SERVER.blocked = is_blocked
HTTP1_SERVER.resume = resume
HTTP1_SERVER.protocol = PROTOCOL_HTTP1
HTTP1_SERVER.drain = drain
