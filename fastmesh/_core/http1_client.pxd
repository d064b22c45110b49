"""HTTP/1 towards endpoints: exchange events into bytes of an upstream connection, and back."""

from fastmesh._core.live cimport client_codec_t

cdef client_codec_t HTTP1_CLIENT
