"""One request and its response. Knows nothing of HTTP/1 or HTTP/2: codecs call these functions, and it calls theirs.

    accept -> parse -> route -> filter -> select -> connect -> forward -> log

What a codec may call, and when:

    downstream codec            exchange_new, exchange_begin, then exchange_request_body*, exchange_request_end
                                exchange_refuse instead of exchange_begin, when the request made no sense
                                exchange_downstream_gone at any time
    upstream codec              exchange_connected, then exchange_response_head+ (1xx first), exchange_response_body*,
                                exchange_response_end; exchange_upstream_failed at any time
    both, when output drains    exchange_downstream_drained, exchange_upstream_drained
"""

from libc.stdint cimport uint8_t, uint64_t
from fastmesh._core.headers cimport head_t
from fastmesh._core.live cimport connection_t, exchange_t, route_entry_t, timer_t, worker_t

# NULL: no memory, or the connection's listener is configured no more. The codec notes itself where it finds it again.
cdef exchange_t* exchange_new(connection_t* downstream) noexcept nogil
# Take over a parsed head; -1: no memory, or larger than the largest buffer.
cdef int exchange_set_request(exchange_t* exchange, const head_t* head) noexcept nogil
cdef void exchange_begin(exchange_t* exchange) noexcept nogil
# The same for bytes without HTTP: `route` is the listener's TCP route, NULL if none took the connection.
cdef void exchange_begin_tcp(exchange_t* exchange, route_entry_t* route) noexcept nogil
cdef void exchange_refuse(exchange_t* exchange, uint8_t reason, const char* detail) noexcept nogil
# Whether body bytes would be taken now; if not, exchange_request_body must not be called before server_codec.resume.
cdef bint exchange_takes_body(exchange_t* exchange) noexcept nogil
# False: the exchange has ended in between (the body was too large): do not touch it again.
cdef bint exchange_request_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil
cdef void exchange_request_end(exchange_t* exchange, head_t* trailers) noexcept nogil
cdef void exchange_downstream_gone(exchange_t* exchange) noexcept nogil
cdef void exchange_downstream_drained(exchange_t* exchange) noexcept nogil

cdef void exchange_connected(exchange_t* exchange) noexcept nogil
cdef void exchange_response_head(exchange_t* exchange, head_t* head) noexcept nogil
cdef void exchange_response_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil
# The upstream connection has been let go of before (except in a tunnel).
cdef void exchange_response_end(exchange_t* exchange, head_t* trailers) noexcept nogil
# The upstream connection of a tunnel is gone after the endpoint had said its end: so tunnels end.
cdef void exchange_upstream_gone(exchange_t* exchange) noexcept nogil
# The upstream connection, or the exchange's stream on it, is gone. `proof`: proof_t.
cdef void exchange_upstream_failed(
    exchange_t* exchange, uint8_t reason, const char* detail, uint8_t proof
) noexcept nogil
# The response is to be a tunnel: the head was 101, or the answer to CONNECT succeeds.
cdef bint exchange_is_tunnel_answer(exchange_t* exchange, const head_t* head) noexcept nogil
cdef void exchange_upstream_drained(exchange_t* exchange) noexcept nogil

cdef void exchange_on_timer(exchange_t* exchange) noexcept nogil
# Free the memory kept for reuse.
cdef void exchanges_free_all(worker_t* worker) noexcept nogil
