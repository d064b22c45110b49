"""HTTP/1 towards clients: bytes of a downstream connection into exchange events, and back."""

from fastmesh._core.live cimport connection_t, server_codec_t

cdef server_codec_t HTTP1_SERVER

# Go on after the connection was accepted, or end it when nothing is going on: the listener drains.
cdef void http1_server_drain(connection_t* connection) noexcept nogil
