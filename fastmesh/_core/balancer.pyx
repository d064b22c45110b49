"""The face of the balancers: a subset's life, who is available, and the dispatch to the algorithm."""

cimport cython
from libc.stdint cimport UINT64_MAX
from libc.stdlib cimport calloc, free
from fastmesh._core.balancer_hash cimport MAGLEV_SLOTS, maglev_new, maglev_pick, ring_free, ring_new, ring_pick
from fastmesh._core.balancer_load cimport (
    alias_free, alias_new, alias_rebuild, ewma_at, ewma_observe, least_request_pick, peak_ewma_pick, random_pick,
)
from fastmesh._core.balancer_rotation cimport (
    rotation_admit, rotation_free, rotation_new, rotation_pick, rotation_ready,
)
from fastmesh._core.hashing cimport IDENTITY_SEED, xxh64, xxh64_number


cdef inline bint is_healthy(const load_t* load) noexcept nogil:
    return load.health == NULL or load.health[0] == 0


cdef bint must_panic(const subset_t* subset) noexcept nogil:
    cdef uint64_t healthy = 0
    cdef uint32_t i
    for i in range(subset.count):
        healthy += is_healthy(subset.loads[i])
    return healthy * 100 < <uint64_t>subset.panic_percent * subset.count


cdef bint list_available(subset_t* subset, uint64_t* random) noexcept nogil:
    # Whether the list changed. `random` is NULL while the subset is made: turns are dealt out at the first pick.
    cdef bint changed = False
    cdef bint usable
    cdef uint32_t i
    subset.panics = must_panic(subset)
    subset.available_count = 0
    subset.total_weight = 0
    subset.equal_weights = True
    for i in range(subset.count):
        usable = subset.panics or is_healthy(subset.loads[i])
        if usable:
            if random != NULL and subset.balance == BALANCE_ROUND_ROBIN:
                if not subset.usable[i] or not subset.rotation.started:
                    rotation_admit(subset, i, random)
            subset.available[subset.available_count] = i
            subset.available_count += 1
            subset.total_weight += subset.weights[i]
            if subset.weights[i] != subset.weights[subset.available[0]]:
                subset.equal_weights = False
        changed = changed or subset.usable[i] != usable
        subset.usable[i] = usable
    return changed


cdef void rebuild(subset_t* subset, uint64_t* random, uint64_t generation) noexcept nogil:
    # The counter moves with any flag of any service: mostly nothing has changed here.
    cdef bint first = subset.generation == UINT64_MAX
    subset.generation = generation
    if not list_available(subset, random) and not first:
        return
    if subset.balance == BALANCE_ROUND_ROBIN:
        rotation_ready(subset, random)
    elif subset.balance <= BALANCE_PEAK_EWMA and not subset.equal_weights:
        alias_rebuild(subset)


cdef int allocate_lists(subset_t* subset, load_t** loads, uint32_t count) noexcept nogil:
    cdef uint32_t i
    subset.loads = <load_t**>calloc(count + 1, sizeof(load_t*))
    subset.weights = <uint32_t*>calloc(count + 1, sizeof(uint32_t))
    subset.available = <uint32_t*>calloc(count + 1, sizeof(uint32_t))
    subset.usable = <uint8_t*>calloc(count + 1, sizeof(uint8_t))
    if subset.loads == NULL or subset.weights == NULL or subset.available == NULL or subset.usable == NULL:
        return -1
    for i in range(count):
        if loads[i].weight:
            subset.loads[subset.count] = loads[i]
            subset.weights[subset.count] = loads[i].weight
            subset.count += 1
    return 0


cdef int allocate_algorithm(subset_t* subset) noexcept nogil:
    if subset.balance == BALANCE_ROUND_ROBIN:
        return rotation_new(subset)
    if subset.balance == BALANCE_RING_HASH:
        return ring_new(subset)
    if subset.balance == BALANCE_MAGLEV:
        return maglev_new(subset)
    return alias_new(subset)


cdef subset_t* subset_new(uint8_t balance, load_t** loads, uint32_t count, uint8_t panic_percent) noexcept nogil:
    cdef subset_t* subset = <subset_t*>calloc(1, sizeof(subset_t))
    if subset == NULL:
        return NULL
    subset.balance = balance
    subset.panic_percent = panic_percent
    subset.generation = UINT64_MAX
    if allocate_lists(subset, loads, count) != 0 or allocate_algorithm(subset) != 0:
        subset_free(subset)
        return NULL
    list_available(subset, NULL)
    return subset


cdef void subset_free(subset_t* subset) noexcept nogil:
    if subset == NULL:
        return
    rotation_free(subset)
    alias_free(subset)
    ring_free(subset)
    free(subset.slots)
    free(subset.loads)
    free(subset.weights)
    free(subset.available)
    free(subset.usable)
    free(subset)


cdef load_t* subset_pick(
    subset_t* subset, const choice_t* choice, uint64_t* random, uint64_t health_generation
) noexcept nogil:
    cdef uint32_t position
    if subset.generation != health_generation:
        rebuild(subset, random, health_generation)
    if subset.available_count == 0:
        return NULL
    if subset.balance == BALANCE_ROUND_ROBIN:
        position = rotation_pick(subset, choice.avoid)
    elif subset.balance == BALANCE_LEAST_REQUEST:
        position = least_request_pick(subset, choice.avoid, random)
    elif subset.balance == BALANCE_PEAK_EWMA:
        position = peak_ewma_pick(subset, choice.avoid, random, choice.now_ns)
    elif subset.balance == BALANCE_RING_HASH:
        position = ring_pick(subset, choice.key_hash, choice.avoid)
    elif subset.balance == BALANCE_MAGLEV:
        position = maglev_pick(subset, choice.key_hash, choice.avoid)
    else:
        position = random_pick(subset, choice.avoid, random)
    return subset.loads[position]


cdef bint subset_panics(const subset_t* subset) noexcept nogil:
    return subset.panics


cdef uint32_t subset_available(const subset_t* subset) noexcept nogil:
    return subset.available_count


cdef void load_observe(load_t* load, uint64_t round_trip_ns, bint failed, uint64_t now_ns) noexcept nogil:
    ewma_observe(load, round_trip_ns, failed, now_ns)


@cython.final
cdef class Subset:
    def __cinit__(self, int balance, object endpoints, int panic_percent=50, object seed=0):
        cdef load_t** pointers
        cdef bytes name
        cdef uint32_t i
        if not BALANCE_ROUND_ROBIN <= balance <= BALANCE_MAGLEV:
            raise ValueError(f"there is no balance {balance}")
        if not 0 <= panic_percent <= 100:
            raise ValueError(f"panic_percent is a share of 100, not {panic_percent}")
        self.size = <uint32_t>len(endpoints)
        self.random = <uint64_t>(seed & UINT64_MAX)
        self.loads = <load_t*>calloc(self.size + 1, sizeof(load_t))
        self.health = <uint8_t*>calloc(self.size + 1, 1)
        pointers = <load_t**>calloc(self.size + 1, sizeof(load_t*))
        try:
            if self.loads == NULL or self.health == NULL or pointers == NULL:
                raise MemoryError
            for i, (address, weight) in enumerate(endpoints):
                name = address.encode()
                self.loads[i].endpoint_id = i
                self.loads[i].weight = weight
                self.loads[i].health = &self.health[i]
                self.loads[i].identity = xxh64(<const char*>name, <size_t>len(name), IDENTITY_SEED)
                pointers[i] = &self.loads[i]
            self.ptr = subset_new(<uint8_t>balance, pointers, self.size, <uint8_t>panic_percent)
            if self.ptr == NULL:
                raise MemoryError
        finally:
            free(pointers)

    def __dealloc__(self):
        subset_free(self.ptr)
        free(self.loads)
        free(self.health)

    cdef load_t* load_at(self, int64_t endpoint) except NULL:
        if not 0 <= endpoint < self.size:
            raise IndexError(f"there is no endpoint {endpoint} among {self.size}")
        return &self.loads[endpoint]

    def pick(self, bytes key=b"", uint64_t now_ns=0, object avoid=None):
        cdef choice_t choice
        cdef load_t* chosen
        choice.key_hash = xxh64(<const char*>key, <size_t>len(key), 0)
        choice.now_ns = now_ns
        choice.avoid = NULL if avoid is None else self.load_at(avoid)
        chosen = subset_pick(self.ptr, &choice, &self.random, self.generation)
        return None if chosen == NULL else chosen.endpoint_id

    def spread(self, uint64_t picks, uint64_t now_ns=0):
        cdef list counts = [0] * self.size
        cdef uint64_t* taken = <uint64_t*>calloc(self.size + 1, sizeof(uint64_t))
        cdef choice_t choice
        cdef load_t* chosen
        cdef uint64_t i
        if taken == NULL:
            raise MemoryError
        choice.now_ns = now_ns
        choice.avoid = NULL
        with nogil:
            for i in range(picks):
                choice.key_hash = xxh64_number(i, 0)
                chosen = subset_pick(self.ptr, &choice, &self.random, self.generation)
                if chosen != NULL:
                    taken[chosen.endpoint_id] += 1
        for i in range(self.size):
            counts[i] = taken[i]
        free(taken)
        return counts

    def set_active(self, int64_t endpoint, uint32_t active):
        self.load_at(endpoint).active = active

    def set_health(self, int64_t endpoint, bint unhealthy):
        self.load_at(endpoint)
        self.health[endpoint] = unhealthy
        self.generation += 1

    def observe(self, int64_t endpoint, uint64_t round_trip_ns, bint failed, uint64_t now_ns):
        load_observe(self.load_at(endpoint), round_trip_ns, failed, now_ns)

    def ewma_ns(self, int64_t endpoint, uint64_t now_ns):
        return ewma_at(self.load_at(endpoint), now_ns)

    def table(self):
        cdef subset_t* subset = self.ptr
        cdef uint32_t i
        if subset.slots != NULL:
            return [(i, subset.loads[subset.slots[i]].endpoint_id) for i in range(<uint32_t>MAGLEV_SLOTS)]
        return [
            (subset.ring.hashes[i], subset.loads[subset.ring.owners[i]].endpoint_id) for i in range(subset.ring.count)
        ]

    @property
    def panics(self):
        return subset_panics(self.ptr)

    @property
    def available(self):
        return subset_available(self.ptr)
