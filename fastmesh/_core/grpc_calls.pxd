"""Counts of gRPC calls by service, method and status, in shared memory: a table of names in each worker's area.

The names come from clients, so only calls that an endpoint has answered, and not with UNIMPLEMENTED, get a row; the
rest, and what exceeds the table, is counted in row 0.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.shared cimport shared_t

cdef enum:
    GRPC_CALLS_NAME_MAX_BYTES = 127
    GRPC_CALLS_STATUSES = 18            # the statuses of gRPC, and one for calls that ended without any

cdef struct grpc_calls_t:               # a row; one writer: its worker
    uint64_t service_id                 # of the mesh
    uint64_t name_len                   # written last: a reader that sees it sees the name; 0: free
    char name[128]                      # "/package.Service/Method"
    uint64_t calls[18]                  # by grpc_status_t; [17]: none
    uint64_t duration_sum_us

# The name of a status; "" for what is none.
cdef const char* grpc_status_name(int status) noexcept nogil
# Count one call. `is_known`: it may take a row of its own.
cdef void grpc_calls_count(
    shared_t* shared, uint32_t worker, uint32_t service_id, const char* path, size_t path_len,
    bint is_known, int status, uint64_t duration_us,
) noexcept nogil
