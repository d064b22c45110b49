"""The PROXY header with which connections to a service's endpoints begin."""

from libc.stdint cimport uint8_t
from fastmesh._core.live cimport connection_t

# Put it where `upstream` sends it first. -1: no memory.
cdef int proxy_out_prepare(connection_t* upstream, const connection_t* downstream, uint8_t version) noexcept nogil
