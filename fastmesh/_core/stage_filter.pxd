"""The stage `filter`: what may stop or change a request between its route and its endpoint."""

from libc.stdint cimport uint8_t
from fastmesh._core.live cimport exchange_t

# Who the client is: the peer, or whom trusted proxies saw. Before anything that goes by it.
cdef void find_client(exchange_t* exchange) noexcept nogil
# REASON_NONE to go on. What counts for every request of a listener, also those that no route takes; then the rest.
cdef uint8_t filter_at_listener(exchange_t* exchange) noexcept nogil
cdef uint8_t filter_request(exchange_t* exchange) noexcept nogil
# For bytes without HTTP: what does not look at a head.
cdef uint8_t filter_tcp(exchange_t* exchange) noexcept nogil
