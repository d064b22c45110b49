"""One request and its response, from its head to its log line. Reads as the pipeline, in order."""

from libc.errno cimport EMFILE, ENFILE, ENOBUFS, ENOMEM
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset, strerror

from fastmesh._core.accounting cimport account_exchange
from fastmesh._core.balancer cimport choice_t, load_observe, load_t, subset_panics, subset_pick, subset_t
from fastmesh._core.buffers cimport buffer_data, buffer_give, buffer_take
from fastmesh._core.connection cimport connection_has_progressed
from fastmesh._core.forwarding cimport FORWARDING_ROOM_FIELDS, forward_request_room
from fastmesh._core.headers cimport (
    FRAMING_CHUNKED,
    FRAMING_LENGTH,
    FRAMING_NONE,
    METHOD_CONNECT,
    METHOD_DELETE,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_OPTIONS,
    METHOD_PUT,
    METHOD_TRACE,
    head_copy,
    header_t,
)
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    EXCHANGE_BAD,
    EXCHANGE_BODY_SENT,
    EXCHANGE_COUNTED,
    EXCHANGE_HEAD_SENT,
    EXCHANGE_ON_REUSED,
    EXCHANGE_REQUEST_COMPLETE,
    EXCHANGE_REQUEST_SENT,
    EXCHANGE_RESPONSE_COMPLETE,
    EXCHANGE_RESPONSE_STARTED,
    EXCHANGE_TUNNEL,
    LIVE_EXCHANGE,
    TIMER_EXCHANGE,
    endpoint_t,
    service_entry_t,
    worker_t,
)
from fastmesh._core.local_answer cimport send_local_answer
from fastmesh._core.pool cimport POOL_EXHAUSTED, POOL_OK, endpoint_hold, endpoint_release, pool_take
from fastmesh._core.reason cimport (
    REASON_BODY_TIMEOUT,
    REASON_BODY_TOO_LARGE,
    REASON_CONNECT_FAILED,
    REASON_CONNECT_NOT_SUPPORTED,
    REASON_CONNECT_TIMEOUT,
    REASON_DOWNSTREAM_CLOSED,
    REASON_DOWNSTREAM_STALLED,
    REASON_NO_ENDPOINT,
    REASON_OVERLOADED,
    REASON_NO_ROUTE,
    REASON_NONE,
    REASON_POOL_EXHAUSTED,
    REASON_REQUEST_TIMEOUT,
    REASON_UPSTREAM_STALLED,
)
from fastmesh._core.request_key cimport request_key_hash
from fastmesh._core.stage_filter cimport filter_at_listener, filter_request, find_client
from fastmesh._core.stage_route cimport find_route
from fastmesh._core.timer_wheel cimport wheel_cancel, wheel_set

cdef enum:
    CONNECT_TRIES = 2                   # of different endpoints, when connecting fails
    RETRIES_MAX = 3                     # in all

# ---- birth


cdef exchange_t* exchange_new(connection_t* downstream) noexcept nogil:
    cdef worker_t* worker = downstream.worker
    cdef exchange_t* exchange
    if downstream.listener.entry == NULL:
        return NULL                     # its listener is configured no more: nothing says how to serve it
    exchange = <exchange_t*>malloc(sizeof(exchange_t))    # calloc passes glibc's thread cache by
    if exchange == NULL:
        return NULL
    memset(exchange, 0, sizeof(exchange_t))
    exchange.worker = worker
    exchange.downstream = downstream
    exchange.tables = worker.tables
    exchange.tables.references += 1
    exchange.listener = downstream.listener.entry
    exchange.series = exchange.listener.unrouted
    exchange.begun_ns = worker.now_ns
    exchange.activity_ms = worker.now_ms
    exchange.timer.owner = exchange
    exchange.timer.kind = TIMER_EXCHANGE
    exchange.detail = b""
    downstream.exchange = exchange
    worker.stats.live[LIVE_EXCHANGE] += 1
    return exchange


cdef int exchange_set_request(exchange_t* exchange, const head_t* head) noexcept nogil:
    """Table first, then the text, in one buffer: it lives as long as the exchange, for a second try and for the log."""
    cdef size_t capacity = head.count + FORWARDING_ROOM_FIELDS
    cdef size_t text_cap = head.text_len + forward_request_room(head)
    exchange.block = buffer_take(exchange.worker, capacity * sizeof(header_t) + text_cap)
    if exchange.block == NULL:
        return -1
    return head_copy(
        &exchange.request,
        head,
        buffer_data(exchange.block) + capacity * sizeof(header_t),
        <unsigned int>text_cap,
        <header_t*>buffer_data(exchange.block),
        <unsigned short>capacity,
    )


cdef inline bint has_body(const exchange_t* exchange) noexcept nogil:
    return exchange.request.framing == FRAMING_CHUNKED or (
        exchange.request.framing == FRAMING_LENGTH and exchange.request.content_length > 0
    )


# ---- route, filter


cdef void exchange_begin(exchange_t* exchange) noexcept nogil:
    """From the head to the endpoint. Ends in exchange_connected, or in an answer of our own."""
    cdef uint8_t reason
    cdef bint is_routed
    if not has_body(exchange):
        exchange.flags |= EXCHANGE_REQUEST_COMPLETE
    if exchange.request.method_id == METHOD_CONNECT:
        # Passed on, its tunnel would begin on a connection that others use next.
        answer(exchange, REASON_CONNECT_NOT_SUPPORTED, b"")
        return
    find_client(exchange)
    is_routed = find_route(exchange)
    reason = filter_at_listener(exchange)
    if reason == REASON_NONE:
        reason = filter_request(exchange) if is_routed else REASON_NO_ROUTE
    if reason:
        answer(exchange, reason, exchange.detail)
        return
    set_timer(exchange)
    attempt(exchange, NULL, False)


cdef void exchange_refuse(exchange_t* exchange, uint8_t reason, const char* detail) noexcept nogil:
    exchange.flags |= EXCHANGE_BAD
    answer(exchange, reason, detail)


# ---- select, connect


cdef void set_endpoint(exchange_t* exchange, endpoint_t* endpoint) noexcept nogil:
    unset_endpoint(exchange)
    exchange.endpoint = endpoint
    exchange.flags |= EXCHANGE_COUNTED
    endpoint_hold(endpoint)
    endpoint.load.active += 1
    endpoint.stats.active += 1
    endpoint.stats.requests += 1
    exchange.destination.service.stats.active += 1


cdef void unset_endpoint(exchange_t* exchange) noexcept nogil:
    cdef endpoint_t* endpoint = exchange.endpoint
    if not exchange.flags & EXCHANGE_COUNTED:
        return
    exchange.flags &= ~EXCHANGE_COUNTED
    endpoint.load.active -= 1
    endpoint.stats.active -= 1
    exchange.destination.service.stats.active -= 1
    endpoint_release(exchange.worker, endpoint)
    exchange.endpoint = NULL


cdef inline bint is_idempotent(exchange_t* exchange) noexcept nogil:
    """RFC 9110 9.2.2."""
    cdef uint8_t method = exchange.request.method_id
    return (
        method == METHOD_GET or method == METHOD_HEAD or method == METHOD_PUT or method == METHOD_DELETE
        or method == METHOD_OPTIONS or method == METHOD_TRACE
    )


cdef inline bint can_send_twice(exchange_t* exchange) noexcept nogil:
    return is_idempotent(exchange) and not has_body(exchange)


cdef void attempt(exchange_t* exchange, const load_t* avoid, bint only_new) noexcept nogil:
    cdef worker_t* worker = exchange.worker
    cdef service_entry_t* service = exchange.destination.service
    cdef subset_t* subset = service.subsets[exchange.destination.subset_index]
    cdef int result = POOL_OK
    cdef int error = 0
    cdef choice_t choice
    cdef load_t* load = NULL
    choice.key_hash = request_key_hash(exchange, &service.hash_key)
    choice.now_ns = worker.now_ns
    choice.avoid = avoid
    if subset != NULL:
        load = subset_pick(subset, &choice, &worker.random, worker.shared.health_generation[0])
    if load == NULL:
        unset_endpoint(exchange)
        answer(exchange, REASON_NO_ENDPOINT, b"")
        return
    if subset_panics(subset):
        service.stats.panics += 1
    set_endpoint(exchange, <endpoint_t*>load)
    exchange.upstream = pool_take(
        worker, exchange.endpoint, service, worker.http1_client, not can_send_twice(exchange), only_new, &result, &error
    )
    if exchange.upstream == NULL:
        if result == POOL_EXHAUSTED:
            answer(exchange, REASON_POOL_EXHAUSTED, b"pool.connections is reached")
        elif error == EMFILE or error == ENFILE or error == ENOBUFS or error == ENOMEM:
            answer(exchange, REASON_OVERLOADED, strerror(error))    # our fault, not the endpoint's
        else:
            service.stats.connect_failures += 1
            exchange.endpoint.stats.connect_failures += 1
            exchange_upstream_failed(exchange, REASON_CONNECT_FAILED, b"the connection could not be opened", False)
        return
    exchange.upstream.exchange = exchange
    exchange.upstream.requests += 1
    if exchange.upstream.is_reused:
        exchange.flags |= EXCHANGE_ON_REUSED
    if exchange.upstream.state == CONNECTION_OPEN:
        exchange_connected(exchange)


# ---- forward: the request


cdef void exchange_connected(exchange_t* exchange) noexcept nogil:
    cdef bint is_end = not has_body(exchange)
    exchange.flags |= EXCHANGE_HEAD_SENT
    exchange.sent_ns = exchange.worker.now_ns
    exchange.activity_ms = exchange.worker.now_ms
    if is_end:
        exchange.flags |= EXCHANGE_REQUEST_SENT
    exchange.upstream.client.head(exchange, is_end)
    if not is_end:
        exchange.downstream.server.resume(exchange)


cdef bint exchange_takes_body(exchange_t* exchange) noexcept nogil:
    if exchange.upstream == NULL or not exchange.flags & EXCHANGE_HEAD_SENT:
        return False
    return not exchange.upstream.client.blocked(exchange)


cdef bint exchange_request_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    cdef uint64_t most = exchange.listener.body_max_bytes
    exchange.bytes_in += length
    exchange.activity_ms = exchange.worker.now_ms
    exchange.flags |= EXCHANGE_BODY_SENT
    if most and exchange.bytes_in > most and not exchange.flags & EXCHANGE_TUNNEL:
        fail(exchange, REASON_BODY_TOO_LARGE, b"")
        return False
    exchange.upstream.client.body(exchange, data, length)
    return True


cdef void exchange_request_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    exchange.flags |= EXCHANGE_REQUEST_COMPLETE | EXCHANGE_REQUEST_SENT
    exchange.activity_ms = exchange.worker.now_ms
    exchange.upstream.client.end(exchange, trailers)
    if exchange.flags & EXCHANGE_TUNNEL:
        end_tunnel(exchange)


# ---- forward: the response


cdef void exchange_response_head(exchange_t* exchange, head_t* head) noexcept nogil:
    cdef bint failed
    exchange.activity_ms = exchange.worker.now_ms
    if head.status < 200 and head.status != 101:
        exchange.downstream.server.informational(exchange, head)
        return
    exchange.flags |= EXCHANGE_RESPONSE_STARTED
    exchange.status = head.status
    exchange.answered_ns = exchange.worker.now_ns
    failed = head.status >= 500 or head.status == 429
    load_observe(&exchange.endpoint.load, exchange.answered_ns - exchange.sent_ns, failed, exchange.worker.now_ns)
    if head.status >= 500:
        exchange.endpoint.stats.failures += 1
    if head.status == 101:
        # The request ended with its head; from here on both directions are bytes, until both have ended.
        exchange.flags |= EXCHANGE_TUNNEL
        exchange.flags &= ~(EXCHANGE_REQUEST_COMPLETE | EXCHANGE_REQUEST_SENT)
    exchange.downstream.server.head(exchange, head, head.framing == FRAMING_NONE and head.status != 101)


cdef void exchange_response_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    exchange.bytes_out += length
    exchange.activity_ms = exchange.worker.now_ms
    exchange.downstream.server.body(exchange, data, length)


cdef void exchange_response_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    exchange.flags |= EXCHANGE_RESPONSE_COMPLETE
    exchange.downstream.server.end(exchange, trailers)
    if exchange.flags & EXCHANGE_TUNNEL:
        end_tunnel(exchange)
    else:
        finish(exchange)


cdef void end_tunnel(exchange_t* exchange) noexcept nogil:
    """A tunnel is over when both sides have ended and the upstream has been given all."""
    cdef uint32_t both = EXCHANGE_REQUEST_COMPLETE | EXCHANGE_RESPONSE_COMPLETE
    if exchange.flags & both == both and not exchange.upstream.client.blocked(exchange):
        finish(exchange)


# ---- backpressure


cdef void exchange_downstream_drained(exchange_t* exchange) noexcept nogil:
    exchange.activity_ms = exchange.worker.now_ms
    if exchange.upstream != NULL:
        exchange.upstream.client.resume(exchange)


cdef void exchange_upstream_drained(exchange_t* exchange) noexcept nogil:
    exchange.activity_ms = exchange.worker.now_ms
    if exchange.flags & EXCHANGE_TUNNEL and exchange.flags & EXCHANGE_REQUEST_COMPLETE:
        end_tunnel(exchange)
    else:
        exchange.downstream.server.resume(exchange)


# ---- what goes wrong


cdef bint may_try_again(exchange_t* exchange, uint8_t reason, bint is_silent) noexcept nogil:
    """Where no second answer can come of it: an endpoint that could not be reached; a reused connection that ended
    before one byte of an answer, and a new one that was made for such a second try."""
    if exchange.flags & (EXCHANGE_RESPONSE_STARTED | EXCHANGE_BODY_SENT):
        return False
    if reason == REASON_CONNECT_FAILED or reason == REASON_CONNECT_TIMEOUT:
        exchange.connects_failed += 1
        return exchange.connects_failed < CONNECT_TRIES
    if not is_silent or not can_send_twice(exchange) or exchange.retries >= RETRIES_MAX:
        return False
    return exchange.flags & EXCHANGE_ON_REUSED or exchange.retries > 0


cdef bint try_again(exchange_t* exchange, uint8_t reason, bint is_silent) noexcept nogil:
    if not may_try_again(exchange, reason, is_silent):
        return False
    exchange.retries += 1
    exchange.destination.service.stats.retries += 1
    exchange.flags &= ~EXCHANGE_HEAD_SENT
    # On a new connection, and to another endpoint where there is one: this one may be going away.
    attempt(exchange, &exchange.endpoint.load, is_silent)
    return True


cdef void blame_endpoint(exchange_t* exchange) noexcept nogil:
    cdef uint64_t now_ns = exchange.worker.now_ns
    if exchange.endpoint == NULL:
        return
    exchange.endpoint.stats.failures += 1
    load_observe(
        &exchange.endpoint.load, now_ns - (exchange.sent_ns if exchange.sent_ns else exchange.begun_ns), True, now_ns
    )


cdef void exchange_upstream_failed(
    exchange_t* exchange, uint8_t reason, const char* detail, bint is_silent
) noexcept nogil:
    exchange.upstream = NULL
    if try_again(exchange, reason, is_silent):
        return
    blame_endpoint(exchange)
    fail(exchange, reason, detail)


cdef void fail(exchange_t* exchange, uint8_t reason, const char* detail) noexcept nogil:
    """Answer, or, where an answer has begun, cut it off."""
    if not exchange.flags & EXCHANGE_RESPONSE_STARTED:
        answer(exchange, reason, detail)
        return
    exchange.reason = reason
    exchange.detail = detail
    exchange.downstream.server.abort(exchange)
    finish(exchange)


cdef void answer(exchange_t* exchange, uint8_t reason, const char* detail) noexcept nogil:
    """An answer of our own."""
    if exchange.upstream != NULL:
        exchange.upstream.client.cancel(exchange)
    exchange.reason = reason
    exchange.detail = detail
    exchange.flags |= EXCHANGE_RESPONSE_STARTED | EXCHANGE_RESPONSE_COMPLETE
    send_local_answer(exchange)
    finish(exchange)


cdef void exchange_downstream_gone(exchange_t* exchange) noexcept nogil:
    if not exchange.flags & EXCHANGE_TUNNEL:
        exchange.reason = REASON_DOWNSTREAM_CLOSED
    finish(exchange)


# ---- timeouts


cdef uint64_t due_ms(exchange_t* exchange) noexcept nogil:
    """When patience ends; 0: never. Before the response head it is the request timeout, else the idle timeout."""
    cdef service_entry_t* service = exchange.destination.service
    if exchange.flags & EXCHANGE_REQUEST_COMPLETE and not exchange.flags & EXCHANGE_RESPONSE_STARTED:
        if service.request_timeout_ms == 0:
            return 0
        # activity_ms: the end of the request, or the last 1xx
        return exchange.activity_ms + service.request_timeout_ms
    if service.idle_timeout_ms == 0:
        return 0
    return exchange.activity_ms + service.idle_timeout_ms


cdef void set_timer(exchange_t* exchange) noexcept nogil:
    """At or before due_ms, whatever state the exchange will be in: the timer is not moved with each byte."""
    cdef service_entry_t* service = exchange.destination.service
    cdef uint64_t soonest = service.request_timeout_ms
    if service.idle_timeout_ms and (soonest == 0 or service.idle_timeout_ms < soonest):
        soonest = service.idle_timeout_ms
    if soonest:
        wheel_set(&exchange.worker.wheel, &exchange.timer.node, exchange.worker.now_ms + soonest)


cdef bint is_moving(exchange_t* exchange) noexcept nogil:
    """Nothing new has come, but a slow reader may still be taking what the kernel holds for it."""
    if exchange.downstream.server.blocked(exchange) and connection_has_progressed(exchange.downstream):
        return True
    if exchange.upstream == NULL or not exchange.upstream.client.blocked(exchange):
        return False
    return connection_has_progressed(exchange.upstream)


cdef void exchange_on_timer(exchange_t* exchange) noexcept nogil:
    cdef uint64_t due = due_ms(exchange)
    if due == 0 or due > exchange.worker.now_ms:
        if due:
            wheel_set(&exchange.worker.wheel, &exchange.timer.node, due)
        else:
            set_timer(exchange)
        return
    if is_moving(exchange):
        exchange.activity_ms = exchange.worker.now_ms
        set_timer(exchange)
    elif exchange.flags & EXCHANGE_TUNNEL:
        finish(exchange)
    elif exchange.downstream.server.blocked(exchange):
        fail(exchange, REASON_DOWNSTREAM_STALLED, b"")
    elif not exchange.flags & EXCHANGE_REQUEST_COMPLETE and exchange_takes_body(exchange):
        fail(exchange, REASON_BODY_TIMEOUT, b"")
    elif exchange.flags & EXCHANGE_RESPONSE_STARTED:
        blame_endpoint(exchange)
        fail(exchange, REASON_UPSTREAM_STALLED, b"")
    else:
        blame_endpoint(exchange)
        fail(exchange, REASON_REQUEST_TIMEOUT, b"")


# ---- log, and the end


cdef void finish(exchange_t* exchange) noexcept nogil:
    cdef worker_t* worker = exchange.worker
    wheel_cancel(&worker.wheel, &exchange.timer.node)
    if exchange.upstream != NULL:
        exchange.upstream.client.cancel(exchange)
    account_exchange(exchange)
    unset_endpoint(exchange)
    exchange.downstream.server.detach(exchange)
    if exchange.block != NULL:
        buffer_give(worker, exchange.block)
    exchange.tables.references -= 1
    worker.stats.live[LIVE_EXCHANGE] -= 1
    free(exchange)
