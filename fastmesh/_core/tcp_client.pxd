"""TCP towards endpoints: a connection for each exchange, never kept for another."""

from fastmesh._core.live cimport client_codec_t

cdef client_codec_t TCP_CLIENT
