"""HTTP/2 towards endpoints: exchange events into streams of an upstream connection, and back."""

from fastmesh._core.live cimport client_codec_t, connection_t

cdef client_codec_t HTTP2_CLIENT

# ALPN has chosen HTTP/2 on a connection that was opened for HTTP/1: its exchange, if any, becomes its first stream.
# Called from on_connected; exchange_connected follows.
cdef void http2_client_adopt(connection_t* connection) noexcept nogil
