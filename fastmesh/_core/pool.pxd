"""Endpoints and the connections to them: opening, keeping, taking again."""

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.live cimport client_codec_t, connection_t, endpoint_t, service_entry_t, worker_t

cdef enum pool_result_t:
    POOL_OK = 0
    POOL_EXHAUSTED = 1                  # the endpoint's connections are all in use
    POOL_FAILED = 2                     # the connection could not be opened: errno in `error`

cdef enum:
    POOL_REST_MS = 1000                 # a connection that rested longer is looked at before it is used

# A new endpoint with one reference, or NULL. `address` is an IP literal; port in host order.
cdef endpoint_t* endpoint_new(worker_t* worker, uint32_t endpoint_id, const char* address, int port) noexcept nogil
cdef void endpoint_hold(endpoint_t* endpoint) noexcept nogil
cdef void endpoint_release(worker_t* worker, endpoint_t* endpoint) noexcept nogil
# No table names it any more: close what is idle, keep nothing.
cdef void endpoint_retire(worker_t* worker, endpoint_t* endpoint) noexcept nogil

# A connection from the pool, or one that is being opened (by somebody else even, where it is shared). `must_be_sure`:
# the request cannot be sent twice, so a pooled connection is asked whether it is still alive, however fresh.
# `only_new`: leave the pool alone. `downstream`: whose addresses a PROXY header tells. Where the service wants one, no
# two exchanges share a connection, at a time or one after the other; no more do those of TCP.
cdef connection_t* pool_take(
    worker_t* worker,
    endpoint_t* endpoint,
    const service_entry_t* service,
    const client_codec_t* codec,
    connection_t* downstream,
    bint must_be_sure,
    bint only_new,
    int* result,
    int* error,
) noexcept nogil
# An exchange is done with it and it is clean: keep it, or close it if it is too old or its endpoint is gone.
cdef void pool_give(connection_t* connection, const service_entry_t* service) noexcept nogil
# The same for those that carry several exchanges at a time (client_codec_t.multiplexes), which are listed at their
# endpoint while they take new ones, idle or not.
cdef void pool_share(connection_t* connection) noexcept nogil
cdef void pool_unshare(connection_t* connection) noexcept nogil
# Its last exchange has ended. False: it has no future, the codec says goodbye and discards it.
cdef bint pool_rest(connection_t* connection) noexcept nogil
# Close it, whether it is idle or in use.
cdef void pool_discard(connection_t* connection) noexcept nogil
