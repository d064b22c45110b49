"""Answers that the proxy makes itself."""

from fastmesh._core.live cimport exchange_t

# Send status, headers and body for exchange.reason; sets exchange.status.
cdef void send_local_answer(exchange_t* exchange) noexcept nogil
