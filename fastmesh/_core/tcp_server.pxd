"""TCP towards clients: a connection is one exchange, from its first byte to its last."""

from libc.stdint cimport uint8_t
from fastmesh._core.live cimport connection_t, route_entry_t, server_codec_t

cdef server_codec_t TCP_SERVER

# Take over a connection, with the input that it has. `route`: NULL if none took it, which ends it.
cdef void tcp_server_adopt(connection_t* connection, route_entry_t* route) noexcept nogil
# End a connection of which nothing can be made, with a line in the log that says why.
cdef void tcp_server_refuse(connection_t* connection, uint8_t reason, const char* detail) noexcept nogil
