"""The engine's loop: epoll rounds over listeners, connections and timers."""

from fastmesh._core.live cimport worker_t

# Handle what is ready, bounded in rounds and in time; what is left makes the epoll descriptor readable again.
cdef void rounds_run(worker_t* worker) noexcept nogil
# Set the timer descriptor to the next timer that is due.
cdef void rounds_arm(worker_t* worker) noexcept nogil
# Read the clocks.
cdef void rounds_read_time(worker_t* worker) noexcept nogil
# Send what was written and free what was closed outside of a round.
cdef void rounds_settle(worker_t* worker) noexcept nogil
