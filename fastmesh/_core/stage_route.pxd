"""The stage `route`: which route, and which of its destinations."""

from fastmesh._core.live cimport exchange_t

# Sets route, destination and series; False when no route matches.
cdef bint find_route(exchange_t* exchange) noexcept nogil
