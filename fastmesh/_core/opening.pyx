"""What a client's connection is before its codec is known: PROXY header, TLS or not, and which protocol.

What waits for bytes waits for a limited time: a PROXY header, a ClientHello and a whole request line as long as a
request's head may take, the first bytes of a connection that may be TCP until a short silence tells that the server is
to speak first.
"""

from libc.errno cimport EAGAIN, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen

from fastmesh._core.buffers cimport buffer_data
from fastmesh._core.connection cimport (
    connection_close,
    connection_finish,
    connection_keep,
    connection_read,
    connection_set_deadline,
    connection_wake,
)
from fastmesh._core.first_bytes cimport FIRST_MAX_BYTES, FIRST_MORE, FIRST_OTHER, first_bytes_read
from fastmesh._core.http1_server cimport http1_server_adopt
from fastmesh._core.http2_server cimport http2_server_adopt
from fastmesh._core.live cimport (
    CONNECTION_SECURING,
    IO_END,
    IO_PEER_SHUT,
    IO_READABLE,
    PROTOCOL_DETECT,
    PROTOCOL_HTTP,
    PROTOCOL_HTTP1,
    PROTOCOL_HTTP2,
    PROTOCOL_TCP,
    route_entry_t,
    server_codec_t,
    tcp_route_t,
)
from fastmesh._core.networks cimport networks_contain
from fastmesh._core.proxy_protocol cimport (
    PROXY_MAX_BYTES,
    PROXY_MORE,
    PROXY_NONE,
    PROXY_UNSPECIFIED,
    proxy_header_t,
    proxy_read,
)
from fastmesh._core.reason cimport REASON_HEAD_TIMEOUT, REASON_PROXY_HEADER
from fastmesh._core.sockets cimport MSG_DONTWAIT, MSG_PEEK, recv
from fastmesh._core.tcp_server cimport tcp_server_adopt, tcp_server_refuse
from fastmesh._core.tls cimport tls_accept, tls_protocol
from fastmesh._core.tls_hello cimport (
    TLS_HELLO_MAX_BYTES,
    TLS_HELLO_MORE,
    TLS_HELLO_READ,
    tls_hello_read,
    tls_hello_t,
    tls_looks_like,
)
from fastmesh._core.transport cimport READ_BROKEN, READ_END

cdef server_codec_t OPENING             # its events, and how it drains: there is no exchange yet


cdef bint opening_is_needed(const listener_entry_t* entry) noexcept nogil:
    if entry.tls != NULL or entry.proxy_network_count > 0:
        return True
    return entry.protocol != PROTOCOL_HTTP and entry.protocol != PROTOCOL_HTTP1


cdef void opening_begin(connection_t* connection) noexcept nogil:
    cdef const listener_entry_t* entry = connection.listener.entry
    connection.server = &OPENING
    connection.events = &OPENING.events
    connection.protocol = PROTOCOL_HTTP
    connection.expires_ms = connection.worker.now_ms + entry.head_timeout_ms
    connection_set_deadline(connection, connection.expires_ms)
    if networks_contain(entry.proxy_networks, entry.proxy_network_count, connection.peer):
        connection.opening = OPENING_PROXY
    else:
        look_at_listener(connection)


# ---- ends


cdef void done(connection_t* connection) noexcept nogil:
    connection.opening = OPENING_DONE
    connection.expires_ms = 0


cdef void adopt_http(connection_t* connection) noexcept nogil:
    """HTTP/1 hands over what begins as HTTP/2 does."""
    cdef bint is_http2 = connection.listener.entry.protocol == PROTOCOL_HTTP2
    if connection.tls != NULL and tls_protocol(connection.tls) == PROTOCOL_HTTP2:
        is_http2 = True
    done(connection)
    if is_http2:
        http2_server_adopt(connection)
    else:
        http1_server_adopt(connection)


cdef void adopt_tcp(connection_t* connection, route_entry_t* route) noexcept nogil:
    done(connection)
    tcp_server_adopt(connection, route)


cdef void refuse(connection_t* connection, unsigned char reason, const char* detail) noexcept nogil:
    done(connection)
    tcp_server_refuse(connection, reason, detail)


cdef void secure(connection_t* connection) noexcept nogil:
    """TLS reads from the first byte on; on_connected follows, or it fails and is counted without us."""
    cdef const listener_entry_t* entry = connection.listener.entry
    connection.opening = OPENING_SECURED
    connection.state = CONNECTION_SECURING
    connection_set_deadline(connection, connection.worker.now_ms + entry.tls.handshake_timeout_ms)
    if tls_accept(connection) < 0:
        connection_close(connection, False)
    elif connection.io & IO_READABLE:
        connection_wake(connection)


# ---- the PROXY header


cdef void read_proxy_header(connection_t* connection) noexcept nogil:
    cdef char* data = buffer_data(connection.worker.scratch)
    cdef ssize_t length = recv(connection.fd, data, PROXY_MAX_BYTES, MSG_PEEK | MSG_DONTWAIT)
    cdef bint is_last = connection.io & IO_PEER_SHUT
    cdef proxy_header_t header
    cdef int result
    if length <= 0:
        if length == 0:
            connection_close(connection, False)     # a probe
        return
    result = proxy_read(data, <size_t>length, &header)
    if result == PROXY_MORE and length < PROXY_MAX_BYTES and not is_last:
        return
    if result == PROXY_NONE:
        refuse(connection, REASON_PROXY_HEADER, b"there is none")
    elif result <= 0:
        refuse(connection, REASON_PROXY_HEADER, b"it is malformed")
    elif recv(connection.fd, data, <size_t>result, MSG_DONTWAIT) != result:
        connection_close(connection, True)
    else:
        if header.family != PROXY_UNSPECIFIED:
            connection.peer_len = <unsigned char>strlen(header.source)
            memcpy(connection.peer, header.source, connection.peer_len + 1)
            connection.peer_port = header.source_port
        look_at_listener(connection)


# ---- what the listener tells, without a byte


cdef route_entry_t* default_route(const listener_entry_t* entry) noexcept nogil:
    cdef uint32_t i
    for i in range(entry.tcp_route_count):
        if entry.tcp_routes[i].sni_count == 0:
            return entry.tcp_routes[i].route
    return NULL


cdef bint has_names(const listener_entry_t* entry) noexcept nogil:
    cdef uint32_t i
    for i in range(entry.tcp_route_count):
        if entry.tcp_routes[i].sni_count:
            return True
    return False


cdef void look_at_listener(connection_t* connection) noexcept nogil:
    cdef const listener_entry_t* entry = connection.listener.entry
    if entry.tls != NULL and not entry.tls.is_optional:
        secure(connection)
    elif entry.tls != NULL or entry.protocol == PROTOCOL_DETECT or has_names(entry):
        connection.opening = OPENING_FIRST
        set_silence(connection)
        look_at_bytes(connection, False)
    else:
        adopt(connection)


cdef void adopt(connection_t* connection) noexcept nogil:
    """It is not, or not any more, TLS."""
    cdef const listener_entry_t* entry = connection.listener.entry
    if entry.protocol == PROTOCOL_TCP:
        adopt_tcp(connection, default_route(entry))     # at once: the server may be the one to speak first
    else:
        adopt_http(connection)


cdef bint may_be_silent(const listener_entry_t* entry) noexcept nogil:
    """Silence is an answer, rather than a delay: but of a client whose server is chosen by name, a hello is due."""
    return entry.protocol == PROTOCOL_DETECT or (entry.protocol == PROTOCOL_TCP and not has_names(entry))


cdef void set_silence(connection_t* connection) noexcept nogil:
    """Where the server may be the one to speak first, it is not kept waiting for long."""
    cdef const listener_entry_t* entry = connection.listener.entry
    cdef uint64_t due_ms = connection.worker.now_ms + entry.detect_timeout_ms
    if may_be_silent(entry) and due_ms < connection.expires_ms:
        connection_set_deadline(connection, due_ms)
    else:
        connection_set_deadline(connection, connection.expires_ms)


# ---- what the first bytes tell


cdef int64_t peek(connection_t* connection) noexcept nogil:
    """They come to stand in the scratch buffer. -1: it is broken, and was closed."""
    cdef ssize_t length = recv(
        connection.fd, buffer_data(connection.worker.scratch), TLS_HELLO_MAX_BYTES, MSG_PEEK | MSG_DONTWAIT
    )
    if length >= 0:
        return length
    if errno == EAGAIN:
        return 0
    connection_close(connection, True)
    return -1


cdef void look_at_bytes(connection_t* connection, bint is_silent) noexcept nogil:
    """`is_silent`: no more have come in time."""
    cdef const listener_entry_t* entry = connection.listener.entry
    cdef const char* data = buffer_data(connection.worker.scratch)
    cdef int64_t length = peek(connection)
    cdef bint is_last = is_silent or connection.io & IO_PEER_SHUT
    if length < 0 or (length == 0 and not is_last):
        return
    if length == 0:
        end_without_bytes(connection)
    elif entry.tls != NULL and tls_looks_like(data[0]):
        secure(connection)
    elif tls_looks_like(data[0]) or has_names(entry) and entry.protocol == PROTOCOL_TCP:
        route_by_name(connection, data, <size_t>length)
    elif entry.protocol == PROTOCOL_DETECT:
        detect(connection, data, <size_t>length, is_last)
    else:
        adopt(connection)


cdef void detect(connection_t* connection, const char* data, size_t length, bint is_last) noexcept nogil:
    cdef int first = first_bytes_read(data, length, is_last)
    if first == FIRST_MORE:
        set_silence(connection)
    elif first == FIRST_OTHER:
        adopt_tcp(connection, default_route(connection.listener.entry))
    else:
        adopt_http(connection)


cdef void end_without_bytes(connection_t* connection) noexcept nogil:
    if may_be_silent(connection.listener.entry):
        adopt_tcp(connection, default_route(connection.listener.entry))
    else:
        connection_close(connection, False)


cdef int64_t read_secured(connection_t* connection, bint* is_last) noexcept nogil:
    """Decrypted bytes gather as the connection's input; how many there are. -1: it is broken, and was closed."""
    cdef char* data
    cdef uint64_t room
    cdef int64_t got
    while connection.io & IO_READABLE and input_length(connection) < FIRST_MAX_BYTES:
        got = connection_read(connection, &data, &room)
        if got == READ_END:
            connection.io = (connection.io & ~IO_END) | IO_READABLE     # for the codec to find it again
            is_last[0] = True
            break
        if got == READ_BROKEN or (got > 0 and connection_keep(connection, data, 0, <size_t>got) < 0):
            connection_close(connection, True)
            return -1
    return input_length(connection)


cdef inline int64_t input_length(const connection_t* connection) noexcept nogil:
    return 0 if connection.input == NULL else connection.input.end - connection.input.begin


cdef void look_at_secured(connection_t* connection, bint is_last) noexcept nogil:
    """A listener that detects, and a client that named no protocol."""
    cdef int64_t length = read_secured(connection, &is_last)
    if length == 0 and is_last:
        end_without_bytes(connection)
    elif length > 0:
        detect(connection, buffer_data(connection.input) + connection.input.begin, <size_t>length, is_last)


cdef bint name_matches(const char* pattern, const char* name, size_t length) noexcept nogil:
    """Exactly, or "*.example.org" any name that ends so."""
    cdef size_t size = strlen(pattern)
    if pattern[0] != c"*":
        return size == length and memcmp(pattern, name, length) == 0
    size -= 1
    return length > size and memcmp(pattern + 1, name + length - size, size) == 0


cdef route_entry_t* find_route(const listener_entry_t* entry, const char* name, size_t length) noexcept nogil:
    """An exact name before a wildcard, the longest wildcard before shorter ones, then the route without names."""
    cdef route_entry_t* best = default_route(entry)
    cdef size_t best_size = 0
    cdef size_t size
    cdef const tcp_route_t* one
    cdef uint32_t i, j
    for i in range(entry.tcp_route_count):
        one = &entry.tcp_routes[i]
        for j in range(one.sni_count):
            if not name_matches(one.sni[j], name, length):
                continue
            size = strlen(one.sni[j])
            if one.sni[j][0] != c"*":
                return one.route
            if size > best_size:
                best = one.route
                best_size = size
    return best


cdef void route_by_name(connection_t* connection, const char* data, size_t length) noexcept nogil:
    """TLS is passed through; for a ClientHello that has begun, there is as much time as for a request's head."""
    cdef const listener_entry_t* entry = connection.listener.entry
    cdef tls_hello_t hello
    cdef int result = tls_hello_read(data, length, &hello)
    if result == TLS_HELLO_READ:
        adopt_tcp(connection, find_route(entry, hello.server_name, hello.server_name_len))
    elif result != TLS_HELLO_MORE or connection.io & IO_PEER_SHUT:
        adopt_tcp(connection, default_route(entry))
    elif connection.worker.now_ms >= connection.expires_ms:
        refuse(connection, REASON_HEAD_TIMEOUT, b"the ClientHello did not arrive")
    else:
        connection_set_deadline(connection, connection.expires_ms)


# ---- events of the connection


cdef bint is_configured(connection_t* connection) noexcept nogil:
    if connection.listener.entry == NULL:
        connection_close(connection, False)
        return False
    return True


cdef void on_connected(connection_t* connection) noexcept nogil:
    """It is secured."""
    if not is_configured(connection):
        return
    if connection.listener.entry.protocol != PROTOCOL_DETECT or tls_protocol(connection.tls) != PROTOCOL_HTTP:
        adopt(connection)
        return
    connection.expires_ms = connection.worker.now_ms + connection.listener.entry.head_timeout_ms
    set_silence(connection)
    look_at_secured(connection, False)


cdef void on_input(connection_t* connection) noexcept nogil:
    if not is_configured(connection):
        return
    if connection.opening == OPENING_PROXY:
        read_proxy_header(connection)
    elif connection.opening == OPENING_SECURED:
        look_at_secured(connection, False)
    else:
        look_at_bytes(connection, False)


cdef void on_drained(connection_t* connection) noexcept nogil:
    pass                                # nothing was said


cdef void on_broken(connection_t* connection, int error) noexcept nogil:
    connection_close(connection, False)


cdef void on_deadline(connection_t* connection) noexcept nogil:
    if not is_configured(connection):
        return
    if connection.opening == OPENING_PROXY:
        refuse(connection, REASON_HEAD_TIMEOUT, b"the PROXY header did not arrive")
    elif connection.opening == OPENING_SECURED:
        look_at_secured(connection, True)
    else:
        look_at_bytes(connection, True)


cdef void drain(connection_t* connection) noexcept nogil:
    if not connection.io & IO_READABLE:
        connection_finish(connection, False)


OPENING.events.on_connected = on_connected
OPENING.events.on_input = on_input
OPENING.events.on_drained = on_drained
OPENING.events.on_broken = on_broken
OPENING.events.on_deadline = on_deadline
OPENING.protocol = PROTOCOL_HTTP
OPENING.drain = drain
