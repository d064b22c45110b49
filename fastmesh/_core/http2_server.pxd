"""HTTP/2 towards clients: streams of a downstream connection into exchange events, and back."""

from fastmesh._core.live cimport connection_t, server_codec_t

cdef server_codec_t HTTP2_SERVER

# The connection speaks HTTP/2 from here on. What it holds as input, or has yet to receive, begins with the preface.
cdef void http2_server_adopt(connection_t* connection) noexcept nogil
