"""random, least_request and peak_ewma: all draw by weight from an alias table; the latter two draw two and compare."""

from libc.math cimport exp
from libc.stdlib cimport calloc, free
from fastmesh._core.balancer cimport alias_t
from fastmesh._core.hashing cimport multiply_high, random_below, splitmix64


cdef int alias_new(subset_t* subset) noexcept nogil:
    subset.alias.threshold = <uint64_t*>calloc(subset.count + 1, sizeof(uint64_t))
    subset.alias.scaled = <uint64_t*>calloc(subset.count + 1, sizeof(uint64_t))
    subset.alias.other = <uint32_t*>calloc(subset.count + 1, sizeof(uint32_t))
    subset.alias.stack = <uint32_t*>calloc(subset.count + 1, sizeof(uint32_t))
    if subset.alias.threshold == NULL or subset.alias.scaled == NULL:
        return -1
    return 0 if subset.alias.other != NULL and subset.alias.stack != NULL else -1


cdef void alias_free(subset_t* subset) noexcept nogil:
    free(subset.alias.threshold)
    free(subset.alias.scaled)
    free(subset.alias.other)
    free(subset.alias.stack)


cdef void alias_rebuild(subset_t* subset) noexcept nogil:
    # Each column holds total_weight: its own share up to the threshold, the rest lent by one that has too much.
    cdef alias_t* alias = &subset.alias
    cdef uint32_t count = subset.available_count
    cdef uint32_t small = 0                 # alias.stack[:small]: columns with too little
    cdef uint32_t large = count             # alias.stack[large:]: columns with enough
    cdef uint32_t i, poor, rich
    for i in range(count):
        alias.scaled[i] = <uint64_t>subset.weights[subset.available[i]] * count
        alias.threshold[i] = subset.total_weight
        alias.other[i] = i
        if alias.scaled[i] < subset.total_weight:
            alias.stack[small] = i
            small += 1
        else:
            large -= 1
            alias.stack[large] = i
    while small and large < count:
        small -= 1
        poor = alias.stack[small]
        rich = alias.stack[large]
        alias.threshold[poor] = alias.scaled[poor]
        alias.other[poor] = rich
        alias.scaled[rich] -= subset.total_weight - alias.scaled[poor]
        if alias.scaled[rich] < subset.total_weight:
            large += 1
            alias.stack[small] = rich
            small += 1


cdef uint32_t draw(const subset_t* subset, uint64_t* random) noexcept nogil:
    # An index into subset.available. One random number does: its high part tells the column, its low part the side.
    cdef uint64_t low
    cdef uint64_t unused
    cdef uint32_t column = <uint32_t>multiply_high(splitmix64(random), subset.available_count, &low)
    if subset.equal_weights:
        return column
    if multiply_high(low, subset.total_weight, &unused) < subset.alias.threshold[column]:
        return column
    return subset.alias.other[column]


cdef uint32_t random_pick(subset_t* subset, const load_t* avoid, uint64_t* random) noexcept nogil:
    cdef uint32_t chosen = draw(subset, random)
    cdef int _i
    if subset.available_count > 1:
        for _i in range(REDRAWS_MAX):
            if subset.loads[subset.available[chosen]] != avoid:
                break
            chosen = draw(subset, random)
        else:
            if subset.loads[subset.available[chosen]] == avoid:
                chosen = (chosen + 1) % subset.available_count
    return subset.available[chosen]


cdef void draw_two(const subset_t* subset, uint64_t* random, uint32_t* first, uint32_t* second) noexcept nogil:
    # Two different positions, if there are two; when the second draw hits the first, any of the others.
    cdef uint32_t a = draw(subset, random)
    cdef uint32_t b = a
    if subset.available_count == 2:
        b = 1 - a
    elif subset.available_count > 2:
        b = draw(subset, random)
        if b == a:
            b = <uint32_t>random_below(random, subset.available_count - 1)
            b += b >= a
    first[0] = subset.available[a]
    second[0] = subset.available[b]


cdef uint32_t least_request_pick(subset_t* subset, const load_t* avoid, uint64_t* random) noexcept nogil:
    cdef uint32_t a
    cdef uint32_t b
    draw_two(subset, random, &a, &b)
    if subset.loads[a] == avoid:
        return b
    if subset.loads[b] == avoid:
        return a
    # Requests in flight for each unit of weight; a tie is left to the draw, which knows the weights.
    if <uint64_t>subset.loads[a].active * subset.weights[b] <= <uint64_t>subset.loads[b].active * subset.weights[a]:
        return a
    return b


cdef double ewma_at(const load_t* load, uint64_t now_ns) noexcept nogil:
    if load.ewma_at_ns == 0:
        return <double>EWMA_START_NS
    if now_ns <= load.ewma_at_ns:
        return load.ewma_ns
    return load.ewma_ns * exp(-<double>(now_ns - load.ewma_at_ns) / <double>EWMA_DECAY_NS)


cdef inline double cost(const subset_t* subset, uint32_t position, uint64_t now_ns) noexcept nogil:
    # Round trip times requests ahead of this one, each unit of weight having a queue of its own. Who was never heard of
    # begins to decay at its first sight, so that it is tried in the end however fast the others are.
    cdef load_t* load = subset.loads[position]
    if load.ewma_at_ns == 0:
        load.ewma_ns = <double>EWMA_START_NS
        load.ewma_at_ns = now_ns
    return ewma_at(load, now_ns) * (<double>load.active / <double>subset.weights[position] + 1.0)


cdef uint32_t peak_ewma_pick(subset_t* subset, const load_t* avoid, uint64_t* random, uint64_t now_ns) noexcept nogil:
    cdef uint32_t a
    cdef uint32_t b
    draw_two(subset, random, &a, &b)
    if subset.loads[a] == avoid:
        return b
    if subset.loads[b] == avoid:
        return a
    return a if cost(subset, a, now_ns) <= cost(subset, b, now_ns) else b


cdef void ewma_observe(load_t* load, uint64_t round_trip_ns, bint failed, uint64_t now_ns) noexcept nogil:
    # A peak counts at once; what is better only as fast as the old figure decays.
    cdef double observed = <double>round_trip_ns
    cdef double kept = 1.0
    if failed and observed < EWMA_FAILURE_NS:
        observed = <double>EWMA_FAILURE_NS
    if now_ns > load.ewma_at_ns:
        kept = exp(-<double>(now_ns - load.ewma_at_ns) / <double>EWMA_DECAY_NS)
    if observed > load.ewma_ns:
        load.ewma_ns = observed
    else:
        load.ewma_ns = load.ewma_ns * kept + observed * (1.0 - kept)
    load.ewma_at_ns = now_ns
