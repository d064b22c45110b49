"""The PROXY header with which connections to a service's endpoints begin: the client's address, and ours to which it
came. Where ours cannot be told, the header says that nothing is known.
"""

from fastmesh._core.buffers cimport buffer_data, buffer_take
from fastmesh._core.connection cimport connection_send_preamble
from fastmesh._core.live cimport CONNECTION_CONNECTING, buffer_t
from fastmesh._core.proxy_protocol cimport (
    PROXY_ADDRESS_BYTES,
    PROXY_V1_MAX_BYTES,
    proxy_write_v1,
    proxy_write_v2,
)
from fastmesh._core.sockets cimport getsockname, sockaddr, sockaddr_storage, socket_address_text, socklen_t


cdef int proxy_out_prepare(connection_t* upstream, const connection_t* downstream, uint8_t version) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t length = sizeof(address)
    cdef char[PROXY_ADDRESS_BYTES] text
    cdef unsigned short port = 0
    cdef const char* ours = NULL
    cdef buffer_t* buffer = buffer_take(upstream.worker, PROXY_V1_MAX_BYTES)
    if buffer == NULL:
        return -1
    if getsockname(downstream.fd, <sockaddr*>&address, &length) == 0:
        port = socket_address_text(&address, text, sizeof(text))
        ours = text
    write = proxy_write_v1 if version == 1 else proxy_write_v2
    buffer.end = <unsigned int>write(buffer_data(buffer), downstream.peer, downstream.peer_port, ours, port)
    upstream.preamble = buffer
    if upstream.state != CONNECTION_CONNECTING:
        connection_send_preamble(upstream)
    return 0
