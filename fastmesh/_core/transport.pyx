"""A connection's socket with TLS in between."""

from libc.errno cimport ENOMEM, EPROTO
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, strlen

from fastmesh._core.buffers cimport buffer_data, buffer_give, buffer_room, buffer_take
from fastmesh._core.live cimport (
    IO_WRITE_BROKEN,
    TLS_CLOSED,
    TLS_NOT_TLS,
    TLS_PROTOCOL,
    buffer_t,
    tls_t,
)
from fastmesh._core.tls cimport (
    TLS_DONE,
    TLS_FAILED,
    TLS_RECORD_BYTES,
    TLS_RECORDS_BYTES,
    TLS_WAITS,
    tls_decrypt,
    tls_encrypt,
    tls_fail,
    tls_feed,
    tls_handshake,
    tls_has_records,
    tls_keep_session,
    tls_say_end,
    tls_settle,
    tls_take_records,
)

cdef enum:
    TURN_BYTES = 64512                  # of plaintext, encrypted before it is sent: its records fit a 64 KiB buffer
    CONTROL_BYTES = 65536
    RECORD_HANDSHAKE = 22               # first byte of a TLS record of the handshake
    UNSENT_MAX_BYTES = 131072

cdef const char* SPEAKS_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 49\r\nX-Fastmesh-Reason: not_tls\r\n\r\nThis port speaks TLS: use https instead of http.\n"
)


# ---- out


cdef int send_unsent(connection_t* connection) noexcept nogil:
    """1: nothing is left; 0: the socket is full; else -errno."""
    cdef buffer_t* unsent = connection.tls.unsent
    cdef iovec piece
    cdef int64_t sent
    if unsent == NULL:
        return 1
    piece.iov_base = buffer_data(unsent) + unsent.begin
    piece.iov_len = unsent.end - unsent.begin
    sent = transport_send_plain(connection, &piece, 1)
    if sent < 0:
        return <int>sent
    unsent.begin += <uint32_t>sent
    connection.output_bytes -= <uint64_t>sent
    if unsent.begin < unsent.end:
        return 0
    buffer_give(connection.worker, unsent)
    connection.tls.unsent = NULL
    return 1


cdef int keep_unsent(connection_t* connection, const char* records, size_t length) noexcept nogil:
    """-1: there is no room. A peer that makes us answer (key updates) and never reads has used it up."""
    cdef tls_t* tls = connection.tls
    cdef buffer_t* old = tls.unsent
    cdef uint32_t before = 0 if old == NULL else old.end - old.begin
    if length == 0:
        return 0
    if old == NULL or buffer_room(old) < length:
        tls.unsent = buffer_take(connection.worker, before + length) if before + length <= UNSENT_MAX_BYTES else NULL
        if tls.unsent == NULL:
            tls.unsent = old
            return -1
        if old != NULL:
            memcpy(buffer_data(tls.unsent), buffer_data(old) + old.begin, before)
            tls.unsent.end = before
            buffer_give(connection.worker, old)
    memcpy(buffer_data(tls.unsent) + tls.unsent.end, records, length)
    tls.unsent.end += <uint32_t>length
    connection.output_bytes += length
    return 0


cdef int send_records(connection_t* connection, char* records, size_t length) noexcept nogil:
    """Send, or keep. -errno when neither can be done."""
    cdef iovec piece
    cdef int64_t sent = 0
    if connection.tls.unsent == NULL:
        piece.iov_base = records
        piece.iov_len = length
        sent = transport_send_plain(connection, &piece, 1)
        if sent < 0:
            return <int>sent
    return -ENOMEM if keep_unsent(connection, records + sent, length - <size_t>sent) < 0 else 0


cdef int64_t transport_encrypt(connection_t* connection, const iovec* pieces, size_t count) noexcept nogil:
    cdef tls_t* tls = connection.tls
    cdef char* records = connection.worker.records
    cdef size_t length = 0
    cdef size_t taken = 0
    cdef size_t at, piece, i
    cdef int64_t made
    cdef int result = send_unsent(connection)
    if result <= 0:
        return result
    for i in range(count):
        at = 0
        while at < pieces[i].iov_len and taken < TURN_BYTES:
            piece = min(pieces[i].iov_len - at, <size_t>TLS_RECORD_BYTES, TURN_BYTES - taken)
            made = tls_encrypt(
                tls, <const char*>pieces[i].iov_base + at, piece, records + length, TLS_RECORDS_BYTES - length
            )
            if made < 0:
                return -EPROTO
            length += <size_t>made
            taken += piece
            at += piece
    if length == 0:
        return 0
    tls_settle(tls)
    result = send_records(connection, records, length)
    return result if result < 0 else <int64_t>taken


cdef int send_control(connection_t* connection) noexcept nogil:
    """What the protocol itself has to say. -1: it cannot be sent."""
    cdef size_t length
    if not tls_has_records(connection.tls):
        return 0
    length = tls_take_records(connection.tls, connection.worker.records, CONTROL_BYTES)
    tls_settle(connection.tls)
    if connection.io & (IO_BROKEN | IO_WRITE_BROKEN):
        return -1
    return -1 if send_records(connection, connection.worker.records, length) < 0 else 0


cdef void transport_say_end(connection_t* connection) noexcept nogil:
    if connection.tls != NULL and not connection.io & (IO_BROKEN | IO_WRITE_BROKEN):
        tls_say_end(connection.tls)
        send_control(connection)


# ---- in


cdef int64_t end_of_input(connection_t* connection, int64_t result) noexcept nogil:
    """A client that just goes is forgiven; of an endpoint's answer, something may be missing."""
    if result != READ_END or connection.is_downstream or connection.tls.has_ended:
        return result
    connection.io |= IO_BROKEN
    return READ_BROKEN


cdef int64_t decrypted(connection_t* connection, int64_t length) noexcept nogil:
    """What comes of a turn of decryption; 0: it needs more records."""
    cdef tls_t* tls = connection.tls
    if send_control(connection) < 0 and length == 0:
        tls.is_broken = 1
    if length > 0:
        if tls.has_pending or tls.has_ended or tls.is_broken:
            connection.io |= IO_READABLE    # whatever the socket says
        if connection.endpoint != NULL and not tls.has_kept_session:
            tls_keep_session(connection)
        return length
    if tls.is_broken:
        connection.io &= ~IO_READABLE
        connection.io |= IO_BROKEN
        return READ_BROKEN
    if tls.has_ended:
        connection.io &= ~IO_READABLE
        connection.io |= IO_END
        return READ_END
    return 0


cdef int64_t transport_decrypt(connection_t* connection, char* data, size_t room) noexcept nogil:
    cdef tls_t* tls = connection.tls
    cdef char* records = connection.worker.records
    cdef int64_t received
    cdef int64_t result
    if tls.has_pending or tls.has_ended or tls.is_broken:
        result = decrypted(connection, tls_decrypt(tls, data, room) if tls.has_pending else 0)
        if result != 0:
            return result
    while True:
        received = transport_receive_plain(connection, records, connection.read_bytes)
        if received <= 0:
            return end_of_input(connection, received)
        if tls_feed(tls, records, <size_t>received) < 0:
            tls.is_broken = 1
            return decrypted(connection, 0)
        result = decrypted(connection, tls_decrypt(tls, data, room))
        if result != 0 or not connection.io & IO_READABLE:
            return result


# ---- the handshake


cdef bint begins_like_tls(connection_t* connection, const char* records) noexcept nogil:
    """Looked at once: a client that begins otherwise gets an answer that it can read, if it speaks HTTP."""
    cdef uint8_t first = <uint8_t>records[0]
    if first == RECORD_HANDSHAKE:
        return True
    tls_fail(connection.tls, TLS_NOT_TLS, b"the client does not speak TLS")
    if c"A" <= first <= c"Z":
        socket_send(connection.fd, SPEAKS_TLS, strlen(SPEAKS_TLS))
    return False


cdef int hear(connection_t* connection) noexcept nogil:
    """Records of the handshake. TLS_DONE: some came."""
    cdef tls_t* tls = connection.tls
    cdef char* records = connection.worker.records
    cdef int64_t received = READ_NOTHING
    if connection.io & IO_READABLE:
        received = transport_receive_plain(connection, records, connection.read_bytes)
    if received == READ_NOTHING:
        return TLS_WAITS
    if received < 0:
        tls_fail(tls, TLS_CLOSED, b"the peer went away in the midst of the handshake")
        return TLS_FAILED
    if connection.is_downstream and not tls.has_heard and not begins_like_tls(connection, records):
        return TLS_FAILED
    tls.has_heard = 1
    tls.wants_input = 0
    if tls_feed(tls, records, <size_t>received) < 0:
        tls_fail(tls, TLS_PROTOCOL, b"no memory")
        return TLS_FAILED
    return TLS_DONE


cdef int transport_secure(connection_t* connection) noexcept nogil:
    cdef tls_t* tls = connection.tls
    cdef int result
    while True:
        if tls.wants_input:
            result = hear(connection)
            if result <= 0:
                return result
        result = tls_handshake(connection)
        if send_control(connection) < 0 and result != TLS_FAILED:
            tls_fail(tls, TLS_CLOSED, b"the peer went away in the midst of the handshake")
            return TLS_FAILED
        if result != TLS_WAITS:
            if tls.has_pending:
                connection.io |= IO_READABLE
            return result
