"""Endpoints and the connections to them: opening, keeping, taking again.

Idle connections form a stack: the one used last is taken first, so that the surplus ages and is closed. A pooled
connection that its endpoint closes is noticed by epoll and leaves the pool at once; the engine reads the flags of a
whole round before it handles any of it, so only what closes within the round can slip through, and that is what the
retry of a reset reused connection is for.

Connections that carry several exchanges at a time are shared: the first that has room is taken, so that they stay few.
"""

from libc.errno cimport EAGAIN, EINPROGRESS, ENOMEM, errno
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport strchr, strlen

from fastmesh._core.connection cimport connection_close, connection_new, connection_set_deadline, connection_wake
from fastmesh._core.hashing cimport IDENTITY_SEED, splitmix64, xxh64
from fastmesh._core.live cimport (
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING,
    CONNECTION_OPEN,
    CONNECTION_SECURING,
    IO_BROKEN,
    IO_END,
    IO_PEER_SHUT,
    IO_READABLE,
    IO_WRITABLE,
    IO_WRITE_BROKEN,
    LIVE_ENDPOINT,
    LIVE_UPSTREAM,
    http2_t,
    PROTOCOL_TCP,
)
from fastmesh._core.proxy_out cimport proxy_out_prepare
from fastmesh._core.shared cimport shared_endpoint
from fastmesh._core.sockets cimport (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    MSG_PEEK,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    close,
    connect,
    htons,
    inet_pton,
    recv,
    sockaddr,
    sockaddr_in,
    sockaddr_in6,
    socket,
    socket_set_nodelay,
)
from fastmesh._core.tls cimport tls_connect, tls_forget_session

cdef enum:
    STREAMS_ASSUMED = 100               # what RFC 9113 6.5.2 recommends to allow at least
    STREAM_IDS_END = 0x7FFFFF00         # then a connection has no ids left for new streams
    SHARED_OUTPUT_MAX_BYTES = 262144    # unsent: an endpoint that does not read gets no more on this connection


# ---- endpoints


cdef int set_address(endpoint_t* endpoint, const char* address, int port) noexcept nogil:
    cdef sockaddr_in* v4 = <sockaddr_in*>&endpoint.address
    cdef sockaddr_in6* v6 = <sockaddr_in6*>&endpoint.address
    if strchr(address, b":") == NULL:
        v4.sin_family = AF_INET
        v4.sin_port = htons(<unsigned short>port)
        endpoint.address_len = sizeof(sockaddr_in)
        snprintf(endpoint.text, sizeof(endpoint.text), b"%s:%d", address, port)
        return 0 if inet_pton(AF_INET, address, &v4.sin_addr) == 1 else -1
    v6.sin6_family = AF_INET6
    v6.sin6_port = htons(<unsigned short>port)
    endpoint.address_len = sizeof(sockaddr_in6)
    snprintf(endpoint.text, sizeof(endpoint.text), b"[%s]:%d", address, port)
    return 0 if inet_pton(AF_INET6, address, &v6.sin6_addr) == 1 else -1


cdef endpoint_t* endpoint_new(worker_t* worker, uint32_t endpoint_id, const char* address, int port) noexcept nogil:
    cdef endpoint_t* endpoint = <endpoint_t*>calloc(1, sizeof(endpoint_t))
    if endpoint == NULL:
        return NULL
    if set_address(endpoint, address, port) < 0:
        free(endpoint)
        return NULL
    endpoint.references = 1
    endpoint.streams_max = STREAMS_ASSUMED
    endpoint.load.endpoint_id = endpoint_id
    endpoint.load.identity = xxh64(endpoint.text, strlen(endpoint.text), IDENTITY_SEED)
    if endpoint_id:                     # 0 is shared by all that exceed the capacity: not theirs to be judged by
        endpoint.load.health = &worker.shared.health[endpoint_id]
    endpoint.stats = shared_endpoint(worker.shared, worker.slot, endpoint_id)
    worker.stats.live[LIVE_ENDPOINT] += 1
    return endpoint


cdef void endpoint_hold(endpoint_t* endpoint) noexcept nogil:
    endpoint.references += 1


cdef void endpoint_release(worker_t* worker, endpoint_t* endpoint) noexcept nogil:
    endpoint.references -= 1
    if endpoint.references == 0:
        if worker.endpoints[endpoint.load.endpoint_id] == endpoint:
            worker.endpoints[endpoint.load.endpoint_id] = NULL
        worker.stats.live[LIVE_ENDPOINT] -= 1
        tls_forget_session(endpoint)
        free(endpoint)


cdef void endpoint_retire(worker_t* worker, endpoint_t* endpoint) noexcept nogil:
    cdef connection_t* connection = endpoint.shared
    cdef connection_t* next
    endpoint.is_gone = 1
    while endpoint.idle != NULL:
        pool_discard(endpoint.idle)
    while connection != NULL:
        next = connection.next_idle
        pool_unshare(connection)        # in use: closes with its last exchange
        if connection.http2.stream_count == 0:
            pool_discard(connection)
        connection = next


# ---- the stack of idle connections


cdef void unlink_idle(connection_t* connection) noexcept nogil:
    cdef endpoint_t* endpoint = connection.endpoint
    if connection.prev_idle != NULL:
        connection.prev_idle.next_idle = connection.next_idle
    else:
        endpoint.idle = connection.next_idle
    if connection.next_idle != NULL:
        connection.next_idle.prev_idle = connection.prev_idle
    else:
        endpoint.idle_oldest = connection.prev_idle
    connection.next_idle = NULL
    connection.prev_idle = NULL
    connection.is_idle = 0
    endpoint.idle_count -= 1
    endpoint.stats.idle -= 1


cdef void link_idle(connection_t* connection) noexcept nogil:
    cdef endpoint_t* endpoint = connection.endpoint
    connection.next_idle = endpoint.idle
    connection.prev_idle = NULL
    if endpoint.idle != NULL:
        endpoint.idle.prev_idle = connection
    else:
        endpoint.idle_oldest = connection
    endpoint.idle = connection
    connection.is_idle = 1
    endpoint.idle_count += 1
    endpoint.stats.idle += 1


cdef bint is_alive(connection_t* connection, bint ask) noexcept nogil:
    """Still usable: nothing has come, nothing has ended. `ask` costs a system call."""
    cdef char byte
    cdef ssize_t received
    if connection.io & (IO_READABLE | IO_PEER_SHUT | IO_BROKEN | IO_END | IO_WRITE_BROKEN):
        return False
    if connection.expires_ms and connection.worker.now_ms >= connection.expires_ms:
        return False
    if ask:
        received = recv(connection.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
        return received < 0 and errno == EAGAIN
    return True


# ---- the list of shared connections


cdef void pool_share(connection_t* connection) noexcept nogil:
    cdef endpoint_t* endpoint = connection.endpoint
    if connection.is_shared or connection.is_draining or endpoint.is_gone:
        return
    connection.is_shared = 1
    connection.prev_idle = NULL
    connection.next_idle = endpoint.shared
    if endpoint.shared != NULL:
        endpoint.shared.prev_idle = connection
    endpoint.shared = connection


cdef void stop_resting(connection_t* connection) noexcept nogil:
    if connection.is_idle:
        connection.is_idle = 0
        connection.endpoint.idle_count -= 1
        connection.endpoint.stats.idle -= 1


cdef void pool_unshare(connection_t* connection) noexcept nogil:
    cdef endpoint_t* endpoint = connection.endpoint
    connection.is_draining = 1
    if not connection.is_shared:
        return
    stop_resting(connection)
    connection.is_shared = 0
    if connection.prev_idle != NULL:
        connection.prev_idle.next_idle = connection.next_idle
    else:
        endpoint.shared = connection.next_idle
    if connection.next_idle != NULL:
        connection.next_idle.prev_idle = connection.prev_idle
    connection.next_idle = NULL
    connection.prev_idle = NULL


cdef bint pool_rest(connection_t* connection) noexcept nogil:
    cdef worker_t* worker = connection.worker
    if connection.is_draining or connection.endpoint.is_gone or worker.is_draining or is_worn(connection):
        return False
    connection.idle_since_ms = worker.now_ms
    if not connection.is_idle:
        connection.is_idle = 1
        connection.endpoint.idle_count += 1
        connection.endpoint.stats.idle += 1
    return True


cdef bint is_worn(connection_t* connection) noexcept nogil:
    if connection.io & (IO_PEER_SHUT | IO_BROKEN | IO_END | IO_WRITE_BROKEN):
        return True
    return connection.expires_ms and connection.worker.now_ms >= connection.expires_ms


cdef bint has_room(connection_t* connection, const service_entry_t* service) noexcept nogil:
    cdef http2_t* http2 = connection.http2
    return (
        http2.stream_count < min(service.streams_max, http2.streams_max)
        and http2.last_stream_id < STREAM_IDS_END
        and connection.output_bytes < SHARED_OUTPUT_MAX_BYTES
    )


cdef bint has_ended(connection_t* connection) noexcept nogil:
    """Asks the kernel: a FIN or RST that epoll has not told of yet."""
    cdef char byte
    cdef ssize_t received = recv(connection.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
    return received == 0 or (received < 0 and errno != EAGAIN)


cdef inline bint is_secured_as(const connection_t* connection, const service_entry_t* service) noexcept nogil:
    """A reload may have changed how the service's connections are secured; those opened before are not used again."""
    if connection.tls == NULL or service.tls == NULL:
        return connection.tls == NULL and service.tls == NULL
    return connection.tls.settings == service.tls.settings


cdef connection_t* take_shared(
    worker_t* worker, endpoint_t* endpoint, const service_entry_t* service, bint must_be_sure
) noexcept nogil:
    cdef connection_t* connection = endpoint.shared
    cdef connection_t* next
    while connection != NULL:
        next = connection.next_idle
        if is_worn(connection) or not is_secured_as(connection, service):
            pool_unshare(connection)    # its codec ends it: with its last exchange, or when the event is handled
            if connection.http2.stream_count == 0:
                pool_discard(connection)
        elif has_room(connection, service):
            if not connection.is_idle or not (
                must_be_sure or worker.now_ms - connection.idle_since_ms > POOL_REST_MS
            ) or not has_ended(connection):
                stop_resting(connection)
                connection.is_reused = 1
                return connection
            pool_discard(connection)
        connection = next
    return NULL


# ---- taking and giving


cdef connection_t* take_idle(
    worker_t* worker, endpoint_t* endpoint, const service_entry_t* service, bint must_be_sure
) noexcept nogil:
    cdef connection_t* connection
    cdef bint ask
    while endpoint.idle != NULL:
        connection = endpoint.idle
        ask = must_be_sure or worker.now_ms - connection.idle_since_ms > POOL_REST_MS
        if is_secured_as(connection, service) and is_alive(connection, ask):
            unlink_idle(connection)
            connection.is_reused = 1
            return connection
        pool_discard(connection)
    return NULL


cdef connection_t* open_new(
    worker_t* worker,
    endpoint_t* endpoint,
    const service_entry_t* service,
    const client_codec_t* codec,
    int* error,
) noexcept nogil:
    cdef connection_t* connection
    cdef int state = CONNECTION_OPEN
    cdef int fd = socket((<sockaddr*>&endpoint.address).sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        error[0] = errno
        return NULL
    socket_set_nodelay(fd)
    if connect(fd, <sockaddr*>&endpoint.address, endpoint.address_len) < 0:
        if errno != EINPROGRESS:
            error[0] = errno
            close(fd)
            return NULL
        state = CONNECTION_CONNECTING
    connection = connection_new(worker, fd, &codec.events, <unsigned char>state)
    if connection == NULL:
        error[0] = errno
        return NULL
    if state == CONNECTION_OPEN:
        connection.io |= IO_WRITABLE
    connection.client = codec
    connection.protocol = codec.protocol
    connection.endpoint = endpoint
    endpoint_hold(endpoint)
    endpoint.open_count += 1
    endpoint.stats.connections += 1
    worker.stats.live[LIVE_UPSTREAM] += 1
    if service.tls != NULL and not secure(connection, service):
        error[0] = ENOMEM
        pool_discard(connection)
        return NULL
    return connection


cdef inline bint is_kept(const service_entry_t* service, const client_codec_t* codec) noexcept nogil:
    return service.proxy_protocol_version == 0 and codec.protocol != PROTOCOL_TCP


cdef bint secure(connection_t* connection, const service_entry_t* service) noexcept nogil:
    if connection.state == CONNECTION_OPEN:
        connection.state = CONNECTION_SECURING
        connection_wake(connection)
    return tls_connect(connection, service) == 0


cdef connection_t* pool_take(
    worker_t* worker,
    endpoint_t* endpoint,
    const service_entry_t* service,
    const client_codec_t* codec,
    connection_t* downstream,
    bint must_be_sure,
    bint only_new,
    int* result,
    int* error,
) noexcept nogil:
    cdef connection_t* connection
    cdef uint64_t age
    result[0] = POOL_OK
    if only_new or not is_kept(service, codec):
        connection = NULL
    elif codec.multiplexes:
        connection = take_shared(worker, endpoint, service, must_be_sure)
    else:
        connection = take_idle(worker, endpoint, service, must_be_sure)
    if connection != NULL:
        service.stats.reuses += 1
        return connection
    if endpoint.open_count >= service.pool_connections_max:
        if only_new and endpoint.idle_oldest != NULL:
            pool_discard(endpoint.idle_oldest)
        else:
            result[0] = POOL_EXHAUSTED
            return NULL
    connection = open_new(worker, endpoint, service, codec, error)
    if connection == NULL:
        result[0] = POOL_FAILED
        return NULL
    if service.proxy_protocol_version and proxy_out_prepare(connection, downstream, service.proxy_protocol_version) < 0:
        error[0] = ENOMEM
        pool_discard(connection)
        result[0] = POOL_FAILED
        return NULL
    service.stats.connects += 1
    connection.is_draining = not is_kept(service, codec)
    if service.pool_age_max_ms:
        # Between 90% and 100% of the age, so that connections opened together do not end together.
        age = service.pool_age_max_ms - service.pool_age_max_ms // 10 * (splitmix64(&worker.random) & 1023) // 1024
        connection.expires_ms = worker.now_ms + age
    if connection.state != CONNECTION_OPEN and service.connect_timeout_ms:
        connection_set_deadline(connection, worker.now_ms + service.connect_timeout_ms)
    return connection


cdef void pool_give(connection_t* connection, const service_entry_t* service) noexcept nogil:
    cdef worker_t* worker = connection.worker
    if (
        connection.endpoint.is_gone
        or worker.is_draining
        or connection.is_draining
        or not is_alive(connection, False)
    ):
        pool_discard(connection)
        return
    connection.idle_since_ms = worker.now_ms
    link_idle(connection)
    if service.pool_idle_timeout_ms:
        connection_set_deadline(connection, worker.now_ms + service.pool_idle_timeout_ms)


cdef void pool_discard(connection_t* connection) noexcept nogil:
    cdef endpoint_t* endpoint = connection.endpoint
    if connection.state == CONNECTION_CLOSED:
        return
    if connection.client.multiplexes:
        pool_unshare(connection)
    elif connection.is_idle:
        unlink_idle(connection)
    endpoint.open_count -= 1
    endpoint.stats.connections -= 1
    connection_close(connection, False)
    endpoint_release(connection.worker, endpoint)
