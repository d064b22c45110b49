"""A hierarchical timer wheel: O(1) to set, move and cancel. Sans-IO: time is an argument.

A timer never fires early, and as timers move down the levels it fires in its own millisecond. Timers are embedded in
their owners; a wheel, once initialised, stays where it is (its lists point into it).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef struct wheel_timer_t:
    wheel_timer_t* next                 # NULL: not set
    wheel_timer_t* prev
    uint64_t due_ms

cdef enum:
    WHEEL_BITS = 8
    WHEEL_SLOTS = 256
    WHEEL_LEVELS = 4                    # 2^32 ms at 1 ms; timers beyond that wait in the last slot and are placed again

cdef struct wheel_t:
    uint64_t now_ms
    uint32_t count                      # timers set
    wheel_timer_t slots[4][256]         # list heads
    uint64_t occupied[4][4]             # bitmaps: slots that hold timers

cdef void wheel_init(wheel_t* wheel, uint64_t now_ms) noexcept nogil
# Set or move. A time that has passed fires at the next advance: the wheel's next millisecond, so that a callback which
# sets its own timer anew cannot hold up the loop that pops.
cdef void wheel_set(wheel_t* wheel, wheel_timer_t* timer, uint64_t due_ms) noexcept nogil
cdef void wheel_cancel(wheel_t* wheel, wheel_timer_t* timer) noexcept nogil
# Move time forward, and hand out one timer that is due (it is then not set), or NULL when there is none up to now_ms.
# Call until NULL. A callback may set and cancel any timer in between.
cdef wheel_timer_t* wheel_pop(wheel_t* wheel, uint64_t now_ms) noexcept nogil
# When to look again: at or before the earliest due time; UINT64_MAX when no timer is set.
cdef uint64_t wheel_next_ms(const wheel_t* wheel) noexcept nogil

cdef class TimerWheel:
    cdef wheel_t wheel
    cdef wheel_timer_t* timers          # owned
    cdef Py_ssize_t timer_count
    cdef wheel_timer_t* at(self, Py_ssize_t timer) except NULL
