"""TCP towards clients: a connection is one exchange, from its first byte to its last.

What the client sends before the endpoint is connected stays in the kernel: nothing is read until it can be passed on.
Each direction ends by itself (FIN), and a reset on either side is passed on as a reset.
"""

from libc.stdint cimport int64_t, uint64_t

from fastmesh._core.buffers cimport buffer_data
from fastmesh._core.connection cimport (
    READ_MIN_BYTES,
    connection_close,
    connection_finish,
    connection_flush,
    connection_is_blocked,
    connection_keep,
    connection_read,
    connection_shut,
    connection_wake,
    connection_write,
)
from fastmesh._core.exchange cimport (
    exchange_begin_tcp,
    exchange_downstream_drained,
    exchange_downstream_gone,
    exchange_new,
    exchange_refuse,
    exchange_request_body,
    exchange_request_end,
    exchange_takes_body,
)
from fastmesh._core.headers cimport head_t
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    EXCHANGE_TCP,
    EXCHANGE_TUNNEL,
    IO_END,
    IO_READABLE,
    IO_SHUT,
    PROTOCOL_TCP,
    buffer_t,
    exchange_t,
)
from fastmesh._core.transport cimport READ_END, READ_NOTHING

cdef enum:
    READS_PER_TURN = 8                  # then others get theirs

# ---- the beginning


cdef exchange_t* begin(connection_t* connection) noexcept nogil:
    cdef exchange_t* exchange = exchange_new(connection)
    connection.server = &TCP_SERVER
    connection.events = &TCP_SERVER.events
    connection.protocol = PROTOCOL_TCP
    connection.deadline_ms = 0          # the exchange has its own
    if exchange == NULL:
        connection_close(connection, True)
        return NULL
    connection.exchange = exchange
    connection.requests += 1
    return exchange


cdef void tcp_server_adopt(connection_t* connection, route_entry_t* route) noexcept nogil:
    cdef exchange_t* exchange = begin(connection)
    if exchange != NULL:
        exchange_begin_tcp(exchange, route)


cdef void tcp_server_refuse(connection_t* connection, uint8_t reason, const char* detail) noexcept nogil:
    cdef exchange_t* exchange = begin(connection)
    if exchange != NULL:
        exchange.flags |= EXCHANGE_TCP | EXCHANGE_TUNNEL
        exchange_refuse(exchange, reason, detail)


# ---- input


cdef void on_input(connection_t* connection) noexcept nogil:
    cdef buffer_t* kept = connection.input
    cdef char* data
    cdef uint64_t room
    cdef int64_t got
    cdef int _
    if kept != NULL and exchange_takes_body(connection.exchange):
        # What was looked at before the connection was known to be TCP.
        pass_on(connection, buffer_data(kept) + kept.begin, kept.end - kept.begin)
    for _ in range(READS_PER_TURN):
        if not connection.io & IO_READABLE or connection.io & IO_END:
            return
        if not exchange_takes_body(connection.exchange):
            connection.read_bytes = READ_MIN_BYTES      # a slow endpoint: what one read brings waits in our memory
            return
        got = connection_read(connection, &data, &room)
        if got <= 0:
            on_input_end(connection, got)
            return
        pass_on(connection, data, <size_t>got)
    connection_wake(connection)


cdef void pass_on(connection_t* connection, char* data, size_t length) noexcept nogil:
    exchange_request_body(connection.exchange, data, length)
    connection_keep(connection, data, length, length)


cdef void on_input_end(connection_t* connection, int64_t result) noexcept nogil:
    if result == READ_END:
        exchange_request_end(connection.exchange, NULL)
    elif result != READ_NOTHING:
        close_now(connection)


cdef void close_now(connection_t* connection) noexcept nogil:
    cdef exchange_t* exchange = connection.exchange
    connection_close(connection, True)
    if exchange != NULL:
        exchange_downstream_gone(exchange)


# ---- output


cdef void send_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    connection_write(exchange.downstream, data, length)


cdef void send_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    connection_shut(exchange.downstream)


cdef void abort_response(exchange_t* exchange) noexcept nogil:
    """A reset, as the endpoint's own would be; but where the response had ended before, that end holds."""
    cdef connection_t* connection = exchange.downstream
    connection_flush(connection)
    if connection.io & IO_SHUT:
        connection_finish(connection, True)
    else:
        connection_close(connection, True)


cdef void detach(exchange_t* exchange) noexcept nogil:
    cdef connection_t* connection = exchange.downstream
    connection.exchange = NULL
    if connection.state == CONNECTION_OPEN:
        connection_finish(connection, not connection.io & IO_END)


cdef bint is_blocked(exchange_t* exchange) noexcept nogil:
    return connection_is_blocked(exchange.downstream)


cdef void resume(exchange_t* exchange) noexcept nogil:
    connection_wake(exchange.downstream)


# ---- events of the connection


cdef void on_connected(connection_t* connection) noexcept nogil:
    pass                                # it is, before there is an exchange


cdef void on_drained(connection_t* connection) noexcept nogil:
    if connection.exchange != NULL:
        exchange_downstream_drained(connection.exchange)


cdef void on_broken(connection_t* connection, int error) noexcept nogil:
    close_now(connection)


cdef void on_deadline(connection_t* connection) noexcept nogil:
    pass                                # the exchange has its own timeouts


cdef void drain(connection_t* connection) noexcept nogil:
    pass                                # its one exchange goes on to its end, or to the listener's deadline


# No informational and no head: there is no HTTP that could have one.
TCP_SERVER.events.on_connected = on_connected
TCP_SERVER.events.on_input = on_input
TCP_SERVER.events.on_drained = on_drained
TCP_SERVER.events.on_broken = on_broken
TCP_SERVER.events.on_deadline = on_deadline
TCP_SERVER.body = send_body
TCP_SERVER.end = send_end
TCP_SERVER.abort = abort_response
TCP_SERVER.detach = detach
TCP_SERVER.blocked = is_blocked
TCP_SERVER.resume = resume
TCP_SERVER.protocol = PROTOCOL_TCP
TCP_SERVER.drain = drain
