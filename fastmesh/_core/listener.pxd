"""Listening sockets: the stage `accept`."""

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.live cimport connection_t, listener_t, worker_t

# NULL that is configured and not being removed.
cdef listener_t* listener_find(worker_t* worker, uint32_t listener_id) noexcept nogil
# Accept on `fd`, owned from now on. A listener of this id moves to it; its connections stay. -errno on failure.
cdef int listener_add(worker_t* worker, uint32_t listener_id, int fd) noexcept nogil
# Find each listener's configuration in the worker's tables.
cdef void listeners_bind(worker_t* worker) noexcept nogil
cdef void listener_accept(listener_t* listener) noexcept nogil
cdef void listener_on_timer(listener_t* listener) noexcept nogil
# Stop accepting, close what is idle, and at the deadline all that is left.
cdef void listener_remove(listener_t* listener, uint64_t deadline_ms) noexcept nogil
# One of its connections has been freed.
cdef void listener_left(listener_t* listener) noexcept nogil
# Free those that are removed and have no connection any more.
cdef void listeners_sweep(worker_t* worker) noexcept nogil
