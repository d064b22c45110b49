"""TCP towards endpoints: a connection for each exchange, never kept for another."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport strerror

from fastmesh._core.connection cimport (
    READ_MIN_BYTES,
    connection_flush,
    connection_is_blocked,
    connection_keep,
    connection_read,
    connection_shut,
    connection_wake,
    connection_write,
)
from fastmesh._core.exchange cimport (
    exchange_connected,
    exchange_response_body,
    exchange_response_end,
    exchange_upstream_drained,
    exchange_upstream_failed,
)
from fastmesh._core.headers cimport head_t
from fastmesh._core.live cimport (
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING,
    CONNECTION_OPEN,
    CONNECTION_SECURING,
    EXCHANGE_REQUEST_COMPLETE,
    IO_END,
    IO_READABLE,
    IO_WRITE_BROKEN,
    PROOF_NONE,
    PROTOCOL_TCP,
    connection_t,
    exchange_t,
)
from fastmesh._core.pool cimport pool_discard
from fastmesh._core.reason cimport (
    REASON_CONNECT_FAILED,
    REASON_CONNECT_TIMEOUT,
    REASON_UPSTREAM_RESET,
    REASON_UPSTREAM_TLS,
)
from fastmesh._core.sockets cimport socket_reset_on_close
from fastmesh._core.transport cimport READ_END, READ_NOTHING

cdef enum:
    READS_PER_TURN = 8

cdef const char* IN_TCP = b""
cdef const char* IN_TLS = b"in the TLS handshake"
cdef const char* STOPPED_READING = b"the endpoint stopped reading"

# ---- output


cdef void attach(exchange_t* exchange) noexcept nogil:
    exchange.upstream.exchange = exchange
    if exchange.upstream.state == CONNECTION_OPEN:
        exchange_connected(exchange)


cdef void send_head(exchange_t* exchange, bint is_end) noexcept nogil:
    exchange.upstream.deadline_ms = 0   # connected; a head there is not


cdef void send_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    connection_write(exchange.upstream, data, length)


cdef void send_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    connection_shut(exchange.upstream)


cdef void cancel(exchange_t* exchange) noexcept nogil:
    """With a reset where the client went away in the midst: the endpoint must not take what it has for the whole."""
    cdef connection_t* connection = exchange.upstream
    exchange.upstream = NULL
    connection.exchange = NULL
    if connection.state == CONNECTION_OPEN:
        connection_flush(connection)
        if exchange.downstream.state == CONNECTION_CLOSED and not exchange.flags & EXCHANGE_REQUEST_COMPLETE:
            socket_reset_on_close(connection.fd)
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
    if connection.io & IO_END and connection.io & IO_WRITE_BROKEN:
        failed(connection, REASON_UPSTREAM_RESET, STOPPED_READING)
        return
    for _ in range(READS_PER_TURN):
        if not connection.io & IO_READABLE or connection.io & IO_END:
            return
        if exchange.downstream.server.blocked(exchange):
            connection.read_bytes = READ_MIN_BYTES      # a slow client: what one read brings waits in our memory
            return
        got = connection_read(connection, &data, &room)
        if got <= 0:
            on_input_end(connection, got)
            return
        exchange_response_body(exchange, data, <size_t>got)
        connection_keep(connection, data, <size_t>got, <size_t>got)
    connection_wake(connection)


cdef void on_input_end(connection_t* connection, int64_t result) noexcept nogil:
    if result == READ_END:
        exchange_response_end(connection.exchange, NULL)
    elif result != READ_NOTHING:
        failed(connection, REASON_UPSTREAM_RESET, b"")
    elif connection.io & IO_WRITE_BROKEN:
        failed(connection, REASON_UPSTREAM_RESET, STOPPED_READING)


cdef void failed(connection_t* connection, uint8_t reason, const char* detail) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    connection.exchange = NULL
    pool_discard(connection)
    exchange_upstream_failed(exchange, reason, detail, PROOF_NONE)


# ---- events of the connection


cdef void on_connected(connection_t* connection) noexcept nogil:
    exchange_connected(connection.exchange)


cdef void on_drained(connection_t* connection) noexcept nogil:
    if connection.exchange != NULL:
        exchange_upstream_drained(connection.exchange)


cdef void count_failure(connection_t* connection) noexcept nogil:
    connection.exchange.destination.service.stats.connect_failures += 1
    connection.endpoint.stats.connect_failures += 1


cdef void on_broken(connection_t* connection, int error) noexcept nogil:
    if connection.state == CONNECTION_CONNECTING:
        count_failure(connection)
        failed(connection, REASON_CONNECT_FAILED, strerror(error))
    elif connection.state == CONNECTION_SECURING:
        count_failure(connection)
        failed(connection, REASON_UPSTREAM_TLS, connection.tls.detail)
    else:
        failed(connection, REASON_UPSTREAM_RESET, strerror(error))


cdef void on_deadline(connection_t* connection) noexcept nogil:
    """The only one is that of connecting, and of the handshake."""
    count_failure(connection)
    failed(connection, REASON_CONNECT_TIMEOUT, IN_TCP if connection.state == CONNECTION_CONNECTING else IN_TLS)


TCP_CLIENT.events.on_connected = on_connected
TCP_CLIENT.events.on_input = on_input
TCP_CLIENT.events.on_drained = on_drained
TCP_CLIENT.events.on_broken = on_broken
TCP_CLIENT.events.on_deadline = on_deadline
TCP_CLIENT.protocol = PROTOCOL_TCP
TCP_CLIENT.attach = attach
TCP_CLIENT.head = send_head
TCP_CLIENT.body = send_body
TCP_CLIENT.end = send_end
TCP_CLIENT.cancel = cancel
TCP_CLIENT.blocked = is_blocked
TCP_CLIENT.resume = resume
