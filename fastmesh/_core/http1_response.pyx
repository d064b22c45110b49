"""Response heads towards HTTP/1 clients: what of them depends on the client's version and connection."""

from libc.string cimport memset

from fastmesh._core.connection cimport connection_commit, connection_reserve, connection_wake
from fastmesh._core.forwarding cimport forward_response, forwarding_t
from fastmesh._core.headers cimport FRAMING_CHUNKED, FRAMING_CLOSE, HEAD_EXPECT_CONTINUE
from fastmesh._core.http1_writer cimport http1_head_bound, http1_write_response
from fastmesh._core.live cimport (
    EXCHANGE_BAD,
    EXCHANGE_REQUEST_COMPLETE,
    EXCHANGE_TUNNEL,
    HTTP1_TUNNEL,
    connection_t,
    http1_t,
)


cdef void write_head(exchange_t* exchange, head_t* head) noexcept nogil:
    cdef connection_t* connection = exchange.downstream
    cdef size_t bound = http1_head_bound(head)
    cdef char* out = connection_reserve(connection, bound)
    if out != NULL:
        connection_commit(connection, http1_write_response(head, out))


cdef forwarding_t forwarding_of(exchange_t* exchange) noexcept nogil:
    cdef forwarding_t forwarding
    memset(&forwarding, 0, sizeof(forwarding))
    forwarding.via = exchange.listener.via
    forwarding.via_len = exchange.listener.via_len
    return forwarding


cdef void http1_send_informational(exchange_t* exchange, head_t* head) noexcept nogil:
    cdef forwarding_t forwarding = forwarding_of(exchange)
    if exchange.request.version_minor == 0:
        return                          # HTTP/1.0 knows no 1xx (RFC 9110 15.2)
    if forward_response(head, &forwarding, exchange.request.method_id, 1, True) == 0:
        write_head(exchange, head)


cdef bint keeps_alive(exchange_t* exchange, head_t* head) noexcept nogil:
    if not exchange.downstream.http1.keep_alive or exchange.flags & EXCHANGE_BAD:
        return False
    if exchange.request.version_minor == 0 and (head.framing == FRAMING_CHUNKED or head.framing == FRAMING_CLOSE):
        return False                    # only the end of the connection can end this body
    # A client that waits for 100 may or may not send its body now: where the next request begins is unknown.
    return exchange.flags & EXCHANGE_REQUEST_COMPLETE or not exchange.request.flags & HEAD_EXPECT_CONTINUE


cdef void http1_send_response_head(exchange_t* exchange, head_t* head, bint is_end) noexcept nogil:
    cdef connection_t* connection = exchange.downstream
    cdef http1_t* http1 = &connection.http1
    cdef forwarding_t forwarding = forwarding_of(exchange)
    if exchange.flags & EXCHANGE_TUNNEL:
        http1.keep_alive = 0
        http1.phase = HTTP1_TUNNEL
        forward_response(head, &forwarding, exchange.request.method_id, 1, True)
        write_head(exchange, head)
        http1.out_framing = FRAMING_CLOSE
        connection_wake(connection)
        return
    http1.keep_alive = keeps_alive(exchange, head)
    forward_response(head, &forwarding, exchange.request.method_id, exchange.request.version_minor, http1.keep_alive)
    http1.out_framing = head.framing
    write_head(exchange, head)
