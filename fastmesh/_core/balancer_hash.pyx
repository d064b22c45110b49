"""ring_hash and maglev: tables made once for a subset; who is not available is passed over, the table stays."""

from libc.stdint cimport UINT16_MAX, uint16_t
from libc.stdlib cimport calloc, free, qsort
from libc.string cimport memset
from fastmesh._core.balancer cimport ring_t
from fastmesh._core.hashing cimport xxh64_number

cdef struct turn_t:             # maglev, while building: an endpoint's walk through the slots
    uint64_t identity
    uint32_t position
    uint32_t at
    uint32_t skip
    uint64_t credit


cdef uint64_t divisor(uint64_t a, uint64_t b) noexcept nogil:
    cdef uint64_t rest
    while b:
        rest = a % b
        a = b
        b = rest
    return a


cdef inline uint32_t points_of(uint64_t weight, uint64_t wanted, uint64_t total_weight) noexcept nogil:
    cdef uint64_t points = weight * wanted // total_weight
    return <uint32_t>points if points else 1


cdef uint64_t points_wanted(const subset_t* subset) noexcept nogil:
    # 160 for each unit of weight (of the weights without their common divisor), within the bounds.
    cdef uint64_t common = 0
    cdef uint64_t total = 0
    cdef uint32_t i
    for i in range(subset.count):
        common = divisor(common, subset.weights[i])
        total += subset.weights[i]
    total = total // common
    if total >= RING_POINTS_MAX // RING_POINTS_PER_WEIGHT:
        return RING_POINTS_MAX
    return max(total * RING_POINTS_PER_WEIGHT, <uint64_t>RING_POINTS_MIN)


cdef int ring_allocate(subset_t* subset, uint64_t wanted, uint64_t total_weight) noexcept nogil:
    cdef ring_t* ring = &subset.ring
    cdef uint32_t bits = 1
    cdef uint32_t i
    for i in range(subset.count):
        ring.count += points_of(subset.weights[i], wanted, total_weight)
    while <uint32_t>1 << bits < ring.count:
        bits += 1
    ring.shift = 64 - bits
    ring.hashes = <uint64_t*>calloc(ring.count, sizeof(uint64_t))
    ring.owners = <uint32_t*>calloc(ring.count, sizeof(uint32_t))
    # One more than there are, and one to count into while building.
    ring.starts = <uint32_t*>calloc((<size_t>1 << bits) + 2, sizeof(uint32_t))
    return 0 if ring.hashes != NULL and ring.owners != NULL and ring.starts != NULL else -1


cdef inline bint stands_before(const subset_t* subset, uint64_t hash, uint32_t owner, uint32_t at) noexcept nogil:
    if hash != subset.ring.hashes[at]:
        return hash < subset.ring.hashes[at]
    return subset.loads[owner].identity < subset.loads[subset.ring.owners[at]].identity


cdef void ring_place(subset_t* subset, uint64_t hash, uint32_t owner) noexcept nogil:
    # starts[bucket + 1] is where the bucket's next point goes. Within a bucket (about one point) by insertion; it ends
    # at the bucket before, whose hashes are smaller, or at room not yet filled, which is 0.
    cdef ring_t* ring = &subset.ring
    cdef uint32_t* cursor = &ring.starts[(hash >> ring.shift) + 1]
    cdef uint32_t at = cursor[0]
    cursor[0] += 1
    while at and stands_before(subset, hash, owner, at - 1):
        ring.hashes[at] = ring.hashes[at - 1]
        ring.owners[at] = ring.owners[at - 1]
        at -= 1
    ring.hashes[at] = hash
    ring.owners[at] = owner


cdef int ring_new(subset_t* subset) noexcept nogil:
    cdef ring_t* ring = &subset.ring
    cdef uint64_t wanted
    cdef uint64_t total_weight = 0
    cdef uint64_t bucket
    cdef uint32_t i, point
    if subset.count == 0:
        return 0
    for i in range(subset.count):
        total_weight += subset.weights[i]
    wanted = points_wanted(subset)
    if ring_allocate(subset, wanted, total_weight) != 0:
        return -1
    for i in range(subset.count):
        for point in range(points_of(subset.weights[i], wanted, total_weight)):
            ring.starts[(xxh64_number(point, subset.loads[i].identity) >> ring.shift) + 2] += 1
    for bucket in range(2, (<uint64_t>1 << (64 - ring.shift)) + 2):
        ring.starts[bucket] += ring.starts[bucket - 1]
    for i in range(subset.count):
        for point in range(points_of(subset.weights[i], wanted, total_weight)):
            ring_place(subset, xxh64_number(point, subset.loads[i].identity), i)
    return 0


cdef void ring_free(subset_t* subset) noexcept nogil:
    free(subset.ring.hashes)
    free(subset.ring.owners)
    free(subset.ring.starts)


cdef inline bint can_take(const subset_t* subset, uint32_t position, const load_t* avoid) noexcept nogil:
    if not subset.usable[position]:
        return False
    return subset.loads[position] != avoid or subset.available_count == 1


cdef uint32_t ring_pick(const subset_t* subset, uint64_t key_hash, const load_t* avoid) noexcept nogil:
    cdef const ring_t* ring = &subset.ring
    cdef uint32_t at = ring.starts[key_hash >> ring.shift]
    while at < ring.count and ring.hashes[at] < key_hash:
        at += 1
    if at == ring.count:
        at = 0
    while not can_take(subset, ring.owners[at], avoid):
        at = at + 1 if at + 1 < ring.count else 0
    return ring.owners[at]


cdef int by_identity(const void* a, const void* b) noexcept nogil:
    cdef const turn_t* one = <const turn_t*>a
    cdef const turn_t* two = <const turn_t*>b
    return (one.identity > two.identity) - (one.identity < two.identity)


cdef void take_slot(uint16_t* slots, turn_t* turn) noexcept nogil:
    while slots[turn.at] != UINT16_MAX:
        turn.at += turn.skip
        if turn.at >= MAGLEV_SLOTS:
            turn.at -= MAGLEV_SLOTS
    slots[turn.at] = <uint16_t>turn.position


cdef void fill_slots(uint16_t* slots, turn_t* turns, const subset_t* subset, uint64_t weight_max) noexcept nogil:
    # In turns: the heaviest takes a slot in each round, others as often as their weight compares with its.
    cdef uint32_t filled = 0
    cdef uint32_t i
    while True:
        for i in range(subset.count):
            turns[i].credit += subset.weights[turns[i].position]
            if turns[i].credit < weight_max:
                continue
            turns[i].credit -= weight_max
            take_slot(slots, &turns[i])
            filled += 1
            if filled == MAGLEV_SLOTS:
                return


cdef int maglev_new(subset_t* subset) noexcept nogil:
    cdef turn_t* turns
    cdef uint64_t weight_max = 0
    cdef uint32_t i
    if subset.count == 0:
        return 0
    if subset.count >= UINT16_MAX:
        return -1
    subset.slots = <uint16_t*>calloc(MAGLEV_SLOTS, sizeof(uint16_t))
    turns = <turn_t*>calloc(subset.count, sizeof(turn_t))
    if subset.slots == NULL or turns == NULL:
        free(turns)
        return -1
    memset(subset.slots, 0xFF, MAGLEV_SLOTS * sizeof(uint16_t))
    for i in range(subset.count):
        turns[i].identity = subset.loads[i].identity
        turns[i].position = i
        turns[i].at = <uint32_t>(xxh64_number(turns[i].identity, 0) % MAGLEV_SLOTS)
        turns[i].skip = <uint32_t>(xxh64_number(turns[i].identity, 1) % (MAGLEV_SLOTS - 1)) + 1
        weight_max = max(weight_max, <uint64_t>subset.weights[i])
    # So that the order in which endpoints are listed (by DNS, say) does not matter.
    qsort(turns, subset.count, sizeof(turn_t), &by_identity)
    fill_slots(subset.slots, turns, subset, weight_max)
    free(turns)
    return 0


cdef uint32_t maglev_pick(const subset_t* subset, uint64_t key_hash, const load_t* avoid) noexcept nogil:
    cdef uint32_t at = <uint32_t>(key_hash % MAGLEV_SLOTS)
    while not can_take(subset, subset.slots[at], avoid):
        at = at + 1 if at + 1 < MAGLEV_SLOTS else 0
    return subset.slots[at]
