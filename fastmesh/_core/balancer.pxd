"""Choosing an endpoint of a subset: round_robin, random, least_request, peak_ewma, ring_hash, maglev.

Sans-IO: time and random numbers are arguments. `load_t` is the balancing state of one endpoint in one worker; it lives
as long as the endpoint, across snapshots and subsets. A `subset_t` is rebuilt when endpoints, weights or labels change.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef struct load_t:
    uint32_t endpoint_id
    uint32_t weight                 # 0: draining
    uint32_t active                 # requests in flight; kept by the exchange
    const uint8_t* health           # one byte in shared memory: 0 healthy, 1 unhealthy; NULL: always healthy
    double ewma_ns                  # peak_ewma: decayed peak of the round trip
    uint64_t ewma_at_ns             # when it was last updated
    uint64_t identity               # hash of "host:port": stable across restarts, for ring and maglev

cdef enum balance_t:            # snapshot.Balance
    BALANCE_ROUND_ROBIN = 0
    BALANCE_RANDOM = 1
    BALANCE_LEAST_REQUEST = 2
    BALANCE_PEAK_EWMA = 3
    BALANCE_RING_HASH = 4
    BALANCE_MAGLEV = 5

cdef struct rotation_t:         # round_robin; by position in subset_t.loads, but for the heap
    int64_t* current            # up to ROTATION_SCAN_MAX endpoints: nginx's current weights
    uint64_t* due               # beyond: virtual time of the next turn
    uint32_t* heap              # beyond: positions, the one due first on top
    uint64_t now                # beyond: virtual time of the last turn
    bint started

cdef struct alias_t:            # a weighted draw in O(1) (Vose); by index in subset_t.available
    uint64_t* threshold         # of total_weight
    uint32_t* other
    uint64_t* scaled            # room to build in
    uint32_t* stack             # room to build in

cdef struct ring_t:             # ring_hash: points in ascending order
    uint64_t* hashes
    uint32_t* owners            # positions
    uint32_t* starts            # by the top bits of a hash: index of the first point at or above them
    uint32_t count
    uint32_t shift              # hash >> shift: index into starts

cdef struct subset_t:           # owns its arrays; the loads are borrowed
    load_t** loads              # those of weight > 0; an index into it is a position
    uint32_t* weights           # by position
    uint8_t* usable             # by position
    uint32_t* available         # positions that are usable
    uint32_t count
    uint32_t available_count
    uint64_t total_weight       # of those available
    uint64_t generation         # of the health flags, when `available` was made
    uint8_t balance             # balance_t
    uint8_t panic_percent
    bint equal_weights          # of those available
    bint panics
    rotation_t rotation
    alias_t alias
    ring_t ring
    uint16_t* slots             # maglev: positions

cdef struct choice_t:               # what a request brings to the choice
    uint64_t key_hash               # ring_hash, maglev
    uint64_t now_ns
    const load_t* avoid             # not this one if there is another; NULL: any

# NULL when memory is short. `loads` are borrowed and outlive the subset.
cdef subset_t* subset_new(uint8_t balance, load_t** loads, uint32_t count, uint8_t panic_percent) noexcept nogil
cdef void subset_free(subset_t* subset) noexcept nogil
# NULL when no endpoint can be chosen (none there, or all weights 0). `health_generation` is the counter in shared
# memory: when it has moved, the list of those available is made anew. `random` is the caller's state (splitmix64).
cdef load_t* subset_pick(
    subset_t* subset, const choice_t* choice, uint64_t* random, uint64_t health_generation
) noexcept nogil
cdef bint subset_panics(const subset_t* subset) noexcept nogil
cdef uint32_t subset_available(const subset_t* subset) noexcept nogil
# peak_ewma learns from each response; a failure costs a penalty (field: 429, 503, 5xx).
cdef void load_observe(load_t* load, uint64_t round_trip_ns, bint failed, uint64_t now_ns) noexcept nogil


cdef class Subset:
    cdef subset_t* ptr          # owned
    cdef load_t* loads          # owned
    cdef uint8_t* health        # owned; by endpoint
    cdef uint64_t random
    cdef uint64_t generation
    cdef readonly uint32_t size  # endpoints, those of weight 0 included
    cdef load_t* load_at(self, int64_t endpoint) except NULL
