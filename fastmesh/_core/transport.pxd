"""Bytes in and out of a connection's socket, plain or through TLS, and what that says about its io flags.

Through TLS, what was encrypted counts as sent; records that the socket did not take are kept (tls_t.unsent), and count
as connection_t.output_bytes until it does.
"""

from libc.errno cimport EAGAIN
from libc.stdint cimport int64_t, uint8_t, uint64_t
from fastmesh._core.connection cimport READ_BROKEN, READ_END, READ_MAX_BYTES, READ_NOTHING
from fastmesh._core.live cimport (
    IO_BROKEN,
    IO_END,
    IO_PEER_SHUT,
    IO_READABLE,
    IO_WRITABLE,
    connection_t,
)
from fastmesh._core.sockets cimport iovec, socket_receive, socket_send, socket_send_pieces

# Through TLS: like transport_receive and transport_send.
cdef int64_t transport_decrypt(connection_t* connection, char* data, size_t room) noexcept nogil
cdef int64_t transport_encrypt(connection_t* connection, const iovec* pieces, size_t count) noexcept nogil
# Go on with the handshake, as far as what has come allows; a tls_result_t.
cdef int transport_secure(connection_t* connection) noexcept nogil
# We have sent all: close_notify, where there is TLS.
cdef void transport_say_end(connection_t* connection) noexcept nogil


cdef inline int64_t transport_receive_plain(connection_t* connection, char* data, size_t room) noexcept nogil:
    cdef ssize_t received = socket_receive(connection.fd, data, room)
    if received > 0:
        if connection.listener != NULL:
            connection.listener.stats.bytes_in += <uint64_t>received
        if <size_t>received < room:
            # A short read has emptied the socket; a FIN behind it makes an edge of its own, unless it is known already.
            if not connection.io & IO_PEER_SHUT:
                connection.io &= ~IO_READABLE
        elif connection.read_bytes < READ_MAX_BYTES:
            connection.read_bytes = min(connection.read_bytes * 4, READ_MAX_BYTES)
        return received
    connection.io &= ~IO_READABLE
    if received == 0:
        connection.io |= IO_END
        return READ_END
    if received == -EAGAIN:
        return READ_NOTHING
    connection.io |= IO_BROKEN
    return READ_BROKEN


# Receive once: how many bytes (more than 0), or a read_result_t.
cdef inline int64_t transport_receive(connection_t* connection, char* data, size_t room) noexcept nogil:
    if connection.tls != NULL:
        return transport_decrypt(connection, data, room)
    return transport_receive_plain(connection, data, room)


cdef inline int64_t transport_send_plain(connection_t* connection, iovec* pieces, size_t count) noexcept nogil:
    cdef ssize_t sent
    cdef size_t length = 0
    cdef size_t i
    if count == 1:
        sent = socket_send(connection.fd, <const char*>pieces[0].iov_base, pieces[0].iov_len)
    else:
        sent = socket_send_pieces(connection.fd, pieces, count)
    if sent < 0:
        if sent != -EAGAIN:
            return sent
        sent = 0
    if connection.listener != NULL:
        connection.listener.stats.bytes_out += <uint64_t>sent
    for i in range(count):
        length += pieces[i].iov_len
    if <size_t>sent < length:
        connection.io &= ~IO_WRITABLE
    return sent


# Send once: how many bytes went (0: no room), or -errno.
cdef inline int64_t transport_send(connection_t* connection, iovec* pieces, size_t count) noexcept nogil:
    if connection.tls != NULL:
        return transport_encrypt(connection, pieces, count)
    return transport_send_plain(connection, pieces, count)
