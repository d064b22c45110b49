"""The stage `route`: which route, and which of its destinations."""

from fastmesh._core.live cimport exchange_t, route_entry_t

# Sets route, destination and series; False when no route matches.
cdef bint find_route(exchange_t* exchange) noexcept nogil
# The same for a route that is known.
cdef bint use_route(exchange_t* exchange, route_entry_t* route) noexcept nogil
