"""The timer wheel: four levels of 256 lists, level n counting in units of 256^n ms.

A timer stands at the level of the highest byte in which its due time differs from the wheel's time. When the wheel's
time reaches the start of a slot above level 0, the slot's timers are placed again, lower down. So the earliest slot is
always on the lowest level that is occupied, and a bitmap finds it.
"""

cimport cython
from libc.stdint cimport UINT64_MAX
from libc.stdlib cimport calloc, free

cdef extern from *:
    # The place of the lowest bit that is set, in a word that is not 0.
    """
    #define fastmesh_lowest_bit(word) ((uint32_t)__builtin_ctzll(word))
    """
    uint32_t lowest_bit "fastmesh_lowest_bit" (uint64_t word) noexcept nogil


cdef void wheel_init(wheel_t* wheel, uint64_t now_ms) noexcept nogil:
    cdef wheel_timer_t* head
    cdef int level, slot
    wheel.now_ms = now_ms
    wheel.count = 0
    for level in range(WHEEL_LEVELS):
        for slot in range(4):
            wheel.occupied[level][slot] = 0
        for slot in range(WHEEL_SLOTS):
            head = &wheel.slots[level][slot]
            head.next = head
            head.prev = head
            head.due_ms = 0


cdef void place(wheel_t* wheel, wheel_timer_t* timer, uint64_t at_ms) noexcept nogil:
    """Link a timer into the slot of `at_ms`, which is not before the wheel's time."""
    cdef uint64_t differing = at_ms ^ wheel.now_ms
    cdef uint32_t level, slot
    cdef wheel_timer_t* head
    if differing < (1 << WHEEL_BITS):
        level = 0
    elif differing < (1 << 2 * WHEEL_BITS):
        level = 1
    elif differing < (1 << 3 * WHEEL_BITS):
        level = 2
    else:
        # The last level is a ring: its slots run on past the wheel's own, up to one turn less a slot.
        level = 3
        if (at_ms >> 3 * WHEEL_BITS) - (wheel.now_ms >> 3 * WHEEL_BITS) >= WHEEL_SLOTS:
            at_ms = wheel.now_ms + (<uint64_t>(WHEEL_SLOTS - 1) << 3 * WHEEL_BITS)
    slot = <uint32_t>(at_ms >> (level * WHEEL_BITS)) & (WHEEL_SLOTS - 1)
    head = &wheel.slots[level][slot]
    timer.next = head
    timer.prev = head.prev
    head.prev.next = timer
    head.prev = timer
    wheel.occupied[level][slot >> 6] |= <uint64_t>1 << (slot & 63)


cdef void unlink(wheel_t* wheel, wheel_timer_t* timer) noexcept nogil:
    cdef wheel_timer_t* head = timer.next
    cdef size_t place_of
    timer.prev.next = timer.next
    timer.next.prev = timer.prev
    if head.next == head:
        # It was the last of its slot, and what stands beside it is the head: its address tells the slot.
        place_of = head - &wheel.slots[0][0]
        wheel.occupied[place_of >> WHEEL_BITS][(place_of & (WHEEL_SLOTS - 1)) >> 6] &= ~(<uint64_t>1 << (place_of & 63))
    timer.next = NULL
    timer.prev = NULL


cdef void wheel_set(wheel_t* wheel, wheel_timer_t* timer, uint64_t due_ms) noexcept nogil:
    if timer.next != NULL:
        unlink(wheel, timer)
    else:
        wheel.count += 1
    timer.due_ms = due_ms
    place(wheel, timer, due_ms if due_ms > wheel.now_ms else wheel.now_ms + 1)


cdef void wheel_cancel(wheel_t* wheel, wheel_timer_t* timer) noexcept nogil:
    if timer.next != NULL:
        unlink(wheel, timer)
        wheel.count -= 1


cdef int next_slot(const uint64_t* bitmap, uint32_t first) noexcept nogil:
    """The first occupied slot from `first` to the end, or -1."""
    cdef uint32_t word = first >> 6
    cdef uint64_t bits
    if first >= WHEEL_SLOTS:
        return -1
    bits = bitmap[word] & (UINT64_MAX << (first & 63))
    while bits == 0:
        word += 1
        if word == 4:
            return -1
        bits = bitmap[word]
    return <int>(word * 64 + lowest_bit(bits))


cdef uint64_t wheel_next_ms(const wheel_t* wheel) noexcept nogil:
    """The start of the earliest occupied slot."""
    cdef uint32_t shift, current
    cdef uint64_t turn
    cdef int level, slot
    if wheel.count == 0:
        return UINT64_MAX
    slot = next_slot(wheel.occupied[0], <uint32_t>wheel.now_ms & (WHEEL_SLOTS - 1))
    if slot >= 0:
        return (wheel.now_ms & ~<uint64_t>(WHEEL_SLOTS - 1)) + <uint64_t>slot
    for level in range(1, WHEEL_LEVELS):
        shift = level * WHEEL_BITS
        turn = (wheel.now_ms >> shift) & ~<uint64_t>(WHEEL_SLOTS - 1)
        current = <uint32_t>(wheel.now_ms >> shift) & (WHEEL_SLOTS - 1)
        slot = next_slot(wheel.occupied[level], current + 1)
        if slot < 0 and level == WHEEL_LEVELS - 1:
            slot = next_slot(wheel.occupied[level], 0)
            turn += WHEEL_SLOTS
        if slot >= 0:
            return (turn + <uint64_t>slot) << shift
    return UINT64_MAX


cdef void cascade(wheel_t* wheel) noexcept nogil:
    """Place again, lower down, the timers of the slot whose start the wheel's time has just reached."""
    cdef uint32_t slot
    cdef int level
    cdef wheel_timer_t* head
    cdef wheel_timer_t* timer
    cdef wheel_timer_t* following
    for level in range(WHEEL_LEVELS - 1, 0, -1):
        slot = <uint32_t>(wheel.now_ms >> (level * WHEEL_BITS)) & (WHEEL_SLOTS - 1)
        if not wheel.occupied[level][slot >> 6] >> (slot & 63) & 1:
            continue
        head = &wheel.slots[level][slot]
        timer = head.next
        head.next = head
        head.prev = head
        wheel.occupied[level][slot >> 6] &= ~(<uint64_t>1 << (slot & 63))
        while timer != head:
            following = timer.next
            place(wheel, timer, timer.due_ms if timer.due_ms > wheel.now_ms else wheel.now_ms)
            timer = following


cdef wheel_timer_t* wheel_pop(wheel_t* wheel, uint64_t now_ms) noexcept nogil:
    cdef wheel_timer_t* head
    cdef wheel_timer_t* timer
    cdef uint64_t reached
    while True:
        head = &wheel.slots[0][<uint32_t>wheel.now_ms & (WHEEL_SLOTS - 1)]
        timer = head.next
        if timer != head:
            unlink(wheel, timer)
            wheel.count -= 1
            return timer
        if wheel.now_ms >= now_ms:
            return NULL
        reached = wheel_next_ms(wheel)
        if reached > now_ms:
            # No slot starts in between, so every timer's level stays right.
            wheel.now_ms = now_ms
            return NULL
        wheel.now_ms = reached
        cascade(wheel)


@cython.final
cdef class TimerWheel:
    def __cinit__(self, Py_ssize_t timers, uint64_t now_ms):
        if timers < 1:
            raise ValueError(f"a wheel of {timers} timers: give it 1 or more")
        self.timers = <wheel_timer_t*>calloc(timers, sizeof(wheel_timer_t))
        if self.timers == NULL:
            raise MemoryError()
        self.timer_count = timers
        wheel_init(&self.wheel, now_ms)

    def __dealloc__(self):
        free(self.timers)

    def set(self, Py_ssize_t timer, uint64_t due_ms):
        wheel_set(&self.wheel, self.at(timer), due_ms)

    def cancel(self, Py_ssize_t timer):
        wheel_cancel(&self.wheel, self.at(timer))

    def is_set(self, Py_ssize_t timer):
        return self.at(timer).next != NULL

    def pop(self, uint64_t now_ms):
        cdef wheel_timer_t* timer = wheel_pop(&self.wheel, now_ms)
        return None if timer == NULL else timer - self.timers

    def next_ms(self):
        cdef uint64_t at_ms = wheel_next_ms(&self.wheel)
        return None if at_ms == UINT64_MAX else at_ms

    def __len__(self):
        return self.wheel.count

    cdef wheel_timer_t* at(self, Py_ssize_t timer) except NULL:
        if not 0 <= timer < self.timer_count:
            raise IndexError(f"timer {timer} of {self.timer_count}")
        return &self.timers[timer]
