"""The last stage of the pipeline: what an exchange leaves behind in counters and in the access log."""

from fastmesh._core.live cimport exchange_t, worker_t

cdef enum:
    LOG_ROOM_BYTES = 131072
    LOG_FLUSH_BYTES = 16384
    LOG_FLUSH_MS = 100

cdef void account_exchange(exchange_t* exchange) noexcept nogil
# Hand the lines gathered so far to the pipe, as far as it takes them.
cdef void log_flush(worker_t* worker) noexcept nogil
