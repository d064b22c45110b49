"""A snapshot compiled for one worker."""

from libc.stdint cimport uint32_t
from fastmesh._core.live cimport route_entry_t, tables_t, worker_t

cdef class Tables:
    cdef tables_t* ptr                  # owned
    cdef object owner                   # the engine: it outlives its tables
    cdef worker_t* worker               # the engine's
    cdef readonly object snapshot
    cdef object router                  # what ptr points into
    cdef object log_format
    cdef list texts
    cdef object credentials                # of TLS; None: the snapshot uses none
    cdef object work                    # the generator that compiles; None: complete

    cdef char* text(self, str value) except NULL
    cdef int build_limits(self) except -1
    cdef int build_listener(self, uint32_t index) except -1
    cdef int build_listener_tls(self, uint32_t index) except -1
    cdef int build_service(self, uint32_t index) except -1
    cdef int build_service_tls(self, uint32_t index) except -1
    cdef int build_route(self, uint32_t index) except -1
    cdef int build_arms(self, route_entry_t* entry, str name, tuple listener_indexes, tuple arms) except -1
    cdef int build_tcp_routes(self, uint32_t index) except -1
    cdef int release_route(self, route_entry_t* entry) except -1
    cdef int release_listener(self, uint32_t index) except -1
    cdef int set_endpoints(self, uint32_t index, tuple endpoints) except -1
    cdef int replace_endpoints(self, uint32_t index, tuple endpoints) except -1
    cdef int release_endpoints(self, uint32_t index) except -1

cdef Tables tables_begin(object owner, worker_t* worker, object snapshot, object credentials)
