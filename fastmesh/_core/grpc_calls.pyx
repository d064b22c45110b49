"""Counts of gRPC calls by service, method and status."""

from libc.string cimport memcmp, memcpy

from fastmesh._core.hashing cimport xxh64
from fastmesh._core.shared cimport (
    SHARED_GRPC_AT,
    SHARED_GRPC_ROWS,
    SHARED_GRPC_STRIDE,
    SharedMemory,
    shared_slot,
)

cdef extern from *:
    """
    #define fastmesh_grpc_load(word) __atomic_load_n((word), __ATOMIC_ACQUIRE)
    #define fastmesh_grpc_store(word, value) __atomic_store_n((word), (value), __ATOMIC_RELEASE)
    """
    uint64_t load "fastmesh_grpc_load" (const uint64_t* word) noexcept nogil
    void store "fastmesh_grpc_store" (uint64_t* word, uint64_t value) noexcept nogil

cdef enum:
    PROBES_MAX = 16                     # rows that are looked at for a name


cdef const char* NAMES[GRPC_CALLS_STATUSES]
NAMES[:] = [
    b"OK", b"CANCELLED", b"UNKNOWN", b"INVALID_ARGUMENT", b"DEADLINE_EXCEEDED", b"NOT_FOUND", b"ALREADY_EXISTS",
    b"PERMISSION_DENIED", b"RESOURCE_EXHAUSTED", b"FAILED_PRECONDITION", b"ABORTED", b"OUT_OF_RANGE", b"UNIMPLEMENTED",
    b"INTERNAL", b"UNAVAILABLE", b"DATA_LOSS", b"UNAUTHENTICATED", b"",
]
STATUSES = tuple([NAMES[i].decode() for i in range(GRPC_CALLS_STATUSES - 1)])


cdef const char* grpc_status_name(int status) noexcept nogil:
    return NAMES[status if 0 <= status < GRPC_CALLS_STATUSES else GRPC_CALLS_STATUSES - 1]


cdef inline grpc_calls_t* row_at(shared_t* shared, uint32_t worker, uint32_t row) noexcept nogil:
    return <grpc_calls_t*>shared_slot(shared, worker, SHARED_GRPC_AT, SHARED_GRPC_STRIDE, SHARED_GRPC_ROWS, row)


cdef grpc_calls_t* find_row(
    shared_t* shared, uint32_t worker, uint32_t service_id, const char* path, size_t path_len, bint may_take
) noexcept nogil:
    cdef uint64_t hash = xxh64(path, path_len, service_id)
    cdef grpc_calls_t* row
    cdef uint32_t probe
    if path_len == 0 or path_len > GRPC_CALLS_NAME_MAX_BYTES:
        return row_at(shared, worker, 0)
    for probe in range(PROBES_MAX):
        row = row_at(shared, worker, <uint32_t>(1 + (hash + probe) % (SHARED_GRPC_ROWS - 1)))
        if row.name_len == 0:
            if not may_take:
                break
            row.service_id = service_id
            memcpy(row.name, path, path_len)
            store(&row.name_len, path_len)
            return row
        if row.service_id == service_id and row.name_len == path_len and memcmp(row.name, path, path_len) == 0:
            return row
    return row_at(shared, worker, 0)


cdef void grpc_calls_count(
    shared_t* shared, uint32_t worker, uint32_t service_id, const char* path, size_t path_len,
    bint is_known, int status, uint64_t duration_us,
) noexcept nogil:
    cdef grpc_calls_t* row = find_row(shared, worker, service_id, path, path_len, is_known)
    row.calls[status if 0 <= status < GRPC_CALLS_STATUSES - 1 else GRPC_CALLS_STATUSES - 1] += 1
    row.duration_sum_us += duration_us


def grpc_calls(SharedMemory shared not None):
    cdef uint32_t worker, number
    cdef int status
    cdef grpc_calls_t* row
    found = {}
    for worker in range(shared.view.workers):
        for number in range(SHARED_GRPC_ROWS):
            row = row_at(&shared.view, worker, number)
            if not shared.has_data(<size_t>(<char*>row - shared.view.base), SHARED_GRPC_STRIDE):
                continue
            name = "" if number == 0 else row.name[:load(&row.name_len)].decode(errors="replace")
            if number and not name:
                continue
            key = (0 if number == 0 else row.service_id, name)
            calls, duration_us = found.get(key, ((0,) * GRPC_CALLS_STATUSES, 0))
            calls = tuple([calls[status] + row.calls[status] for status in range(GRPC_CALLS_STATUSES)])
            found[key] = (calls, duration_us + row.duration_sum_us)
    return [(*key, *value) for key, value in sorted(found.items()) if any(value[0])]


def count(SharedMemory shared not None, uint32_t worker, uint32_t service_id, bytes path, bint is_known, int status):
    shared.check_worker(worker)
    grpc_calls_count(&shared.view, worker, service_id, path, <size_t>len(path), is_known, status, 1)
