"""HTTP/1 towards clients: bytes of a downstream connection into exchange events, and back."""

from fastmesh._core.live cimport connection_t, server_codec_t

cdef server_codec_t HTTP1_SERVER

# The connection speaks HTTP/1 from here on; what it holds as input is looked at soon.
cdef void http1_server_adopt(connection_t* connection) noexcept nogil
