"""HTTP/1 towards clients: bytes of a downstream connection into exchange events, and back."""

from fastmesh._core.live cimport connection_t, server_codec_t

cdef server_codec_t HTTP1_SERVER

# Take over a connection, with the input that it has.
cdef void http1_server_adopt(connection_t* connection) noexcept nogil
