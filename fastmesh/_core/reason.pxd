"""Why a request failed, or was answered by us: one code, the same in header, log and metric.

The order is the index of the counters in shared memory; names and statuses stand in reason.pyx.
"""

from libc.stdint cimport uint8_t

cdef enum:                          # reason_t
    REASON_NONE = 0
    # downstream: what the client did
    REASON_BAD_REQUEST = 1
    REASON_URI_TOO_LONG = 2
    REASON_HEAD_TOO_LARGE = 3
    REASON_HEAD_TIMEOUT = 4
    REASON_BODY_TOO_LARGE = 5
    REASON_BODY_TIMEOUT = 6
    REASON_VERSION_NOT_SUPPORTED = 7
    REASON_DOWNSTREAM_CLOSED = 8
    REASON_DOWNSTREAM_STALLED = 9
    # ours: what the mesh decided
    REASON_NO_ROUTE = 10
    REASON_NO_ENDPOINT = 11
    REASON_RATE_LIMITED = 12
    REASON_OVERLOADED = 13
    REASON_POOL_EXHAUSTED = 14
    REASON_DRAINING = 15
    # upstream: what the endpoint did
    REASON_CONNECT_FAILED = 16
    REASON_CONNECT_TIMEOUT = 17
    REASON_REQUEST_TIMEOUT = 18
    REASON_UPSTREAM_RESET = 19
    REASON_UPSTREAM_MALFORMED = 20
    REASON_UPSTREAM_STALLED = 21
    REASON_UPSTREAM_TRUNCATED = 22
    REASON_CONNECT_NOT_SUPPORTED = 23
    REASON_DEADLINE_EXCEEDED = 24
    REASON_UPSTREAM_TLS = 25
    REASON_UPSTREAM_REFUSED = 26
    REASON_UPGRADE_REFUSED = 27
    REASON_PROXY_HEADER = 28
    REASON_IDLE_TIMEOUT = 29
    REASON_COUNT = 30

cdef const char* reason_name(uint8_t reason) noexcept nogil
cdef int reason_status(uint8_t reason) noexcept nogil
cdef const char* reason_text(uint8_t reason) noexcept nogil
