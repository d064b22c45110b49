"""The table of token buckets: a set of eight slots for each hash, searched in order.

No locks: a slot's two words change by compare-and-swap, one at a time. A bucket is claimed by swapping the key, which
shows it to all at once; what the slot held before is then swapped for the first take. Whoever reads the old time in
between may refuse one request too many; nobody is allowed one too many, unless two workers claim different slots for
one new key in the same nanoseconds, and then the lower slot wins.
"""

cimport cython
from libc.stdint cimport UINT64_MAX
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

cdef extern from *:
    """
    #define fastmesh_load(word) __atomic_load_n((word), __ATOMIC_ACQUIRE)
    #define fastmesh_add(word, amount) __atomic_fetch_add((word), (amount), __ATOMIC_RELAXED)
    #define fastmesh_swap(word, expected, wanted) __atomic_compare_exchange_n( \
        (word), (expected), (wanted), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
    """
    uint64_t atomic_load "fastmesh_load" (const uint64_t* word) noexcept nogil
    uint64_t atomic_add "fastmesh_add" (uint64_t* word, uint64_t amount) noexcept nogil
    # Whether `word` held `expected` and now holds `wanted`; if not, `expected` becomes what it holds.
    bint atomic_swap "fastmesh_swap" (uint64_t* word, uint64_t* expected, uint64_t wanted) noexcept nogil

cdef enum:
    # Workers read the clock once a batch, so their readings differ. Only a time further ahead than any such difference
    # can come from an older, slower rate.
    SLACK_NS = 250000000

CLOCK_SLACK_NS = SLACK_NS


cdef uint64_t mix(uint64_t key_hash, uint64_t limit_id) noexcept nogil:
    """One key of the two (the finaliser of splitmix64); never 0, which is a free slot."""
    cdef uint64_t word = key_hash + limit_id * <uint64_t>0x9E3779B97F4A7C15
    word = (word ^ (word >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    word = (word ^ (word >> 27)) * <uint64_t>0x94D049BB133111EB
    word ^= word >> 31
    return word if word != 0 else 1


cdef uint64_t take_from(limiter_slot_t* slot, const limit_t* limit, uint64_t now_ns) noexcept nogil:
    """GCRA on the slot's time."""
    cdef uint64_t arrival_ns = atomic_load(&slot.arrival_ns)
    cdef uint64_t ahead_ns
    while True:
        ahead_ns = arrival_ns - now_ns if arrival_ns > now_ns else 0
        if ahead_ns <= limit.tolerance_ns:
            if atomic_swap(&slot.arrival_ns, &arrival_ns, now_ns + ahead_ns + limit.period_ns):
                return 0
        elif ahead_ns <= limit.tolerance_ns + limit.period_ns + SLACK_NS:
            return ahead_ns - limit.tolerance_ns
        elif atomic_swap(&slot.arrival_ns, &arrival_ns, now_ns + limit.tolerance_ns + limit.period_ns):
            return limit.period_ns


cdef limiter_slot_t* find(limiter_slot_t* slots, uint64_t key) noexcept nogil:
    cdef int way
    for way in range(LIMITER_WAYS):
        if atomic_load(&slots[way].key) == key:
            return &slots[way]
    return NULL


cdef limiter_slot_t* claim(
    limiter_table_t* table, limiter_slot_t* slots, uint64_t key, uint64_t period_ns, uint64_t now_ns, bint* taken
) noexcept nogil:
    """Give a new key a slot: a free one, or the one with the earliest time. NULL: another worker was faster.

    `taken` tells whether the first token was taken with it.
    """
    cdef limiter_slot_t* chosen = NULL
    cdef limiter_slot_t* other
    cdef uint64_t held, chosen_key = 0, arrival_ns, earliest_ns = UINT64_MAX
    cdef int way
    for way in range(LIMITER_WAYS):
        held = atomic_load(&slots[way].key)
        arrival_ns = atomic_load(&slots[way].arrival_ns)
        if held == 0 or arrival_ns < earliest_ns:
            chosen = &slots[way]
            chosen_key = held
            earliest_ns = arrival_ns
            if held == 0:
                break
    held = chosen_key
    if not atomic_swap(&chosen.key, &held, key):
        return NULL
    other = find(slots, key)
    if other != NULL and other < chosen:
        held = key
        atomic_swap(&chosen.key, &held, 0)
        return NULL
    if chosen_key != 0 and earliest_ns > now_ns:
        atomic_add(table.evictions, 1)
    taken[0] = atomic_swap(&chosen.arrival_ns, &earliest_ns, now_ns + period_ns)
    return chosen


cdef uint64_t limiter_take(
    limiter_table_t* table, const limit_t* limit, uint64_t key_hash, uint64_t now_ns
) noexcept nogil:
    cdef uint64_t key = mix(key_hash, limit.id)
    cdef limiter_slot_t* slots = &table.slots[((key >> 32) & table.set_mask) * LIMITER_WAYS]
    cdef limiter_slot_t* slot = find(slots, key)
    cdef bint taken = False
    while slot == NULL:
        slot = claim(table, slots, key, limit.period_ns, now_ns, &taken)
        if taken:
            return 0
        if slot == NULL:
            slot = find(slots, key)
    return take_from(slot, limit, now_ns)


cdef int check_limit(uint64_t period_ns, uint64_t burst_tokens) except -1:
    if period_ns == 0 or burst_tokens == 0:
        raise ValueError("a limit needs a period and a burst of 1 or more")
    return 0


@cython.final
cdef class LimiterTable:
    def __cinit__(self, size_t slots):
        cdef size_t size = slots * sizeof(limiter_slot_t) + sizeof(uint64_t)
        if slots < LIMITER_WAYS or slots & (slots - 1):
            raise ValueError(f"{slots} slots: their number is a power of two, {LIMITER_WAYS} or more")
        self.memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
        if self.memory == MAP_FAILED:
            raise MemoryError()
        self.size = size
        self.table.slots = <limiter_slot_t*>self.memory
        self.table.set_mask = slots // LIMITER_WAYS - 1
        self.table.evictions = <uint64_t*>&self.table.slots[slots]

    def __dealloc__(self):
        if self.size != 0:
            munmap(self.memory, self.size)

    def take(self, uint64_t limit_id, uint64_t period_ns, uint64_t burst_tokens, uint64_t key_hash, uint64_t now_ns):
        cdef limit_t limit
        check_limit(period_ns, burst_tokens)
        limit = limit_make(limit_id, period_ns, burst_tokens)
        return limiter_take(&self.table, &limit, key_hash, now_ns)

    def take_many(
        self, uint64_t limit_id, uint64_t period_ns, uint64_t burst_tokens, uint64_t key_count, uint64_t takes,
        uint64_t now_ns, uint64_t step_ns
    ):
        cdef limit_t limit
        cdef uint64_t turn = 0, allowed = 0
        check_limit(period_ns, burst_tokens)
        if key_count == 0:
            raise ValueError("there is no key to take from")
        limit = limit_make(limit_id, period_ns, burst_tokens)
        with nogil:
            while turn < takes:
                if limiter_take(&self.table, &limit, turn % key_count + 1, now_ns + turn * step_ns) == 0:
                    allowed += 1
                turn += 1
        return allowed

    def holds(self, uint64_t limit_id, uint64_t key_hash):
        cdef uint64_t key = mix(key_hash, limit_id)
        return find(&self.table.slots[((key >> 32) & self.table.set_mask) * LIMITER_WAYS], key) != NULL

    @property
    def evictions(self):
        return atomic_load(self.table.evictions)
