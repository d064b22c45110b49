"""The stage `route`: which route, and which of its destinations."""

from libc.stdint cimport int32_t, uint32_t

from fastmesh._core.headers cimport IDENTITY_PARTS, identity_t
from fastmesh._core.live cimport destination_t, tls_t
from fastmesh._core.router cimport router_match


cdef destination_t* choose_destination(route_entry_t* route) noexcept nogil:
    """Smooth weighted rotation: exact over each run of weight_sum requests."""
    cdef destination_t* best = NULL
    cdef destination_t* one
    cdef uint32_t i
    if route.destination_count == 1:
        return &route.destinations[0]
    for i in range(route.destination_count):
        one = &route.destinations[i]
        one.rotation += one.weight
        if one.weight and (best == NULL or one.rotation > best.rotation):
            best = one
    if best != NULL:
        best.rotation -= route.weight_sum
    return best


cdef void tell_identity(exchange_t* exchange, identity_t* identity) noexcept nogil:
    cdef const tls_t* tls = exchange.downstream.tls
    cdef int part
    for part in range(IDENTITY_PARTS):
        identity.lengths[part] = tls.identity_len[part]
        identity.parts[part] = tls.identity_text + tls.identity_at[part] if tls.identity_len[part] else NULL
    exchange.request.identity = identity


cdef bint find_route(exchange_t* exchange) noexcept nogil:
    cdef int32_t index
    cdef identity_t identity
    if exchange.downstream.tls != NULL and exchange.downstream.tls.identity_text != NULL:
        tell_identity(exchange, &identity)
    index = router_match(exchange.tables.router, exchange.listener.index, &exchange.request)
    exchange.request.identity = NULL
    return index >= 0 and use_route(exchange, &exchange.tables.routes[index])


cdef bint use_route(exchange_t* exchange, route_entry_t* route) noexcept nogil:
    cdef uint32_t i
    exchange.route = route
    exchange.destination = choose_destination(exchange.route)
    if exchange.destination == NULL:
        return False
    for i in range(exchange.route.listener_count):
        if exchange.route.listener_indexes[i] == exchange.listener.index:
            exchange.series = exchange.destination.series[i]
    return True
