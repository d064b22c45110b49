"""The layout of the memory that supervisor and workers share: counters, gauges, health flags, rate limits.

One memfd, mapped by every process, sparse: pages that nobody touches cost nothing. A slot of a worker has one writer,
that worker; whoever reads sums over the workers. When a worker dies its gauges are set to 0 and its counters stay, so
no counter ever goes backwards; its successor takes the slot over. Ids come from the snapshot; id 0: none, or overflow.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.histogram cimport HISTOGRAM_BUCKETS
from fastmesh._core.limiter cimport limiter_table_t

cdef enum:
    SHARED_WORKERS_MAX = 64
    SHARED_SERIES_MAX = 65536
    SHARED_SERVICES_MAX = 8192
    SHARED_ENDPOINTS_MAX = 32768
    SHARED_LISTENERS_MAX = 256
    SHARED_REASONS_MAX = 32             # >= REASON_COUNT
    SHARED_LIMITER_SLOTS = 1048576      # 16 MiB when full
    SHARED_LIVE_KINDS = 16

cdef struct series_stats_t:             # one listener, route, service and subset
    uint64_t requests[6]                # by status class; [0]: ended without a status
    uint64_t reasons[32]                # by reason_t
    uint64_t bytes_in                   # body bytes from clients
    uint64_t bytes_out                  # body bytes to clients

cdef struct service_stats_t:
    uint64_t duration_us[96]            # histogram: request head to the end of the response
    uint64_t duration_sum_us
    uint64_t upstream_us[96]            # histogram: request sent on, to the response head
    uint64_t upstream_sum_us
    uint64_t connects                   # connections opened
    uint64_t connect_failures
    uint64_t reuses                     # requests on a connection from the pool
    uint64_t retries                    # a reused connection was reset before any byte
    uint64_t panics                     # requests sent while less than the panic threshold was healthy
    int64_t active                      # gauge: exchanges

cdef struct endpoint_stats_t:
    uint64_t requests
    uint64_t failures                   # 5xx, reset, malformed, timeout
    uint64_t connect_failures
    int64_t active                      # gauge: requests in flight
    int64_t connections                 # gauge: open
    int64_t idle                        # gauge: of those, in the pool
    uint64_t ewma_us                    # gauge: peak_ewma's estimate

cdef struct listener_stats_t:
    uint64_t accepted
    uint64_t refused                    # closed at once: the connection limit
    int64_t connections                 # gauge: open
    uint64_t bytes_in                   # on the wire: with TLS, encrypted
    uint64_t bytes_out
    uint64_t handshakes                 # of TLS, that succeeded
    uint64_t handshakes_resumed         # of those, with the session of an earlier connection
    uint64_t tls_failures[7]            # by tls_failure_t

cdef struct worker_stats_t:
    uint64_t pid
    uint64_t started_ns                 # CLOCK_MONOTONIC
    uint64_t heartbeat_ns               # CLOCK_MONOTONIC, at least once a second
    uint64_t snapshot                   # first 8 bytes of the version that is served, as a number
    uint64_t wakes                      # callbacks of the loop
    uint64_t events                     # of sockets
    uint64_t log_lines
    uint64_t log_dropped
    uint64_t limiter_evictions
    uint64_t http2_attacks[12]          # peers that were cut off, by http2_attack_t (names: http2_guard.ATTACKS)
    uint64_t buffer_bytes               # gauge: held by connections
    int64_t live[16]                    # gauge: live objects by kind (engine.LIVE_KINDS)

# The region: a header page, health flags, rate limits, then an area for each worker. In an area each slot begins a
# cache line, and each kind a page.
cdef enum:
    SHARED_PAGE_BYTES = 4096
    SHARED_SERIES_STRIDE = 320
    SHARED_SERVICE_STRIDE = 1600
    SHARED_ENDPOINT_STRIDE = 64
    SHARED_LISTENER_STRIDE = 128
    SHARED_GRPC_STRIDE = 320
    SHARED_GRPC_ROWS = 1024
    SHARED_HEALTH_OFFSET = SHARED_PAGE_BYTES
    SHARED_LIMITER_OFFSET = SHARED_HEALTH_OFFSET + SHARED_ENDPOINTS_MAX
    SHARED_WORKERS_OFFSET = SHARED_LIMITER_OFFSET + SHARED_LIMITER_SLOTS * 16
    # within a worker's area
    SHARED_LISTENERS_AT = SHARED_PAGE_BYTES
    SHARED_SERVICES_AT = SHARED_LISTENERS_AT + SHARED_LISTENERS_MAX * SHARED_LISTENER_STRIDE
    SHARED_SERIES_AT = SHARED_SERVICES_AT + SHARED_SERVICES_MAX * SHARED_SERVICE_STRIDE
    SHARED_ENDPOINTS_AT = SHARED_SERIES_AT + SHARED_SERIES_MAX * SHARED_SERIES_STRIDE
    SHARED_GRPC_AT = SHARED_ENDPOINTS_AT + SHARED_ENDPOINTS_MAX * SHARED_ENDPOINT_STRIDE     # grpc_calls.pxd
    SHARED_AREA_BYTES = SHARED_GRPC_AT + SHARED_GRPC_ROWS * SHARED_GRPC_STRIDE

cdef struct shared_t:                   # one process's view of the region
    char* base
    size_t size
    uint32_t workers
    const uint64_t* secret              # two random words, the same in all processes: key of hashes of strangers' data
    uint64_t* health_generation         # moved after any health flag changed
    uint8_t* health                     # by endpoint id: 0 healthy (or unknown), 1 unhealthy
    limiter_table_t limiter             # `evictions` counts in the header until a worker puts its own counter there

cdef class SharedMemory:
    cdef shared_t view                  # unmapped when this object goes
    cdef readonly int fd                # owned
    cdef uint8_t* written               # owned; by page: whether it is known to have been written
    cdef bint has_data(self, size_t offset, size_t length) noexcept
    cdef int sum_words(self, int kind, size_t id, uint64_t* total) except -1
    cdef int check_worker(self, size_t worker) except -1


cdef inline char* shared_slot(
    shared_t* shared, uint32_t worker, size_t area_offset, size_t stride, uint32_t count, uint32_t slot_id
) noexcept nogil:
    return (
        shared.base + SHARED_WORKERS_OFFSET + <size_t>worker * SHARED_AREA_BYTES
        + area_offset + (slot_id if slot_id < count else 0) * stride
    )


cdef inline worker_stats_t* shared_worker(shared_t* shared, uint32_t worker) noexcept nogil:
    return <worker_stats_t*>shared_slot(shared, worker, 0, 0, 1, 0)


# An id out of range counts as id 0.
cdef inline series_stats_t* shared_series(shared_t* shared, uint32_t worker, uint32_t series_id) noexcept nogil:
    return <series_stats_t*>shared_slot(
        shared, worker, SHARED_SERIES_AT, SHARED_SERIES_STRIDE, SHARED_SERIES_MAX, series_id
    )


cdef inline service_stats_t* shared_service(shared_t* shared, uint32_t worker, uint32_t service_id) noexcept nogil:
    return <service_stats_t*>shared_slot(
        shared, worker, SHARED_SERVICES_AT, SHARED_SERVICE_STRIDE, SHARED_SERVICES_MAX, service_id
    )


cdef inline endpoint_stats_t* shared_endpoint(shared_t* shared, uint32_t worker, uint32_t endpoint_id) noexcept nogil:
    return <endpoint_stats_t*>shared_slot(
        shared, worker, SHARED_ENDPOINTS_AT, SHARED_ENDPOINT_STRIDE, SHARED_ENDPOINTS_MAX, endpoint_id
    )


cdef inline listener_stats_t* shared_listener(shared_t* shared, uint32_t worker, uint32_t listener_id) noexcept nogil:
    return <listener_stats_t*>shared_slot(
        shared, worker, SHARED_LISTENERS_AT, SHARED_LISTENER_STRIDE, SHARED_LISTENERS_MAX, listener_id
    )
