"""The stage `filter`: what may stop or change a request between its route and its endpoint."""

from libc.stdint cimport uint8_t
from fastmesh._core.live cimport exchange_t

# REASON_NONE to go on.
cdef uint8_t filter_request(exchange_t* exchange) noexcept nogil
