"""One request and its response, from its head to its log line. Reads as the pipeline, in order."""

from libc.errno cimport EMFILE, ENFILE, ENOBUFS, ENOMEM
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strerror

from fastmesh._core.accounting cimport account_exchange
from fastmesh._core.balancer cimport choice_t, load_observe, load_t, subset_panics, subset_pick, subset_t
from fastmesh._core.buffers cimport KEEPS_MEMORY, buffer_data, buffer_give, buffer_room, buffer_take
from fastmesh._core.connection cimport connection_has_progressed
from fastmesh._core.exchange_grpc cimport (
    append_grpc_status,
    note_grpc_status,
    pass_on_deadline,
    recognise_grpc,
)
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
    EXCHANGE_BAD,
    EXCHANGE_BODY_SENT,
    EXCHANGE_COUNTED,
    EXCHANGE_GRPC,
    EXCHANGE_HEAD_SENT,
    EXCHANGE_NOT_REPLAYABLE,
    EXCHANGE_ON_REUSED,
    EXCHANGE_REQUEST_COMPLETE,
    EXCHANGE_REQUEST_SENT,
    EXCHANGE_RESPONSE_COMPLETE,
    EXCHANGE_RESPONSE_STARTED,
    EXCHANGE_TCP,
    EXCHANGE_TUNNEL,
    LIVE_EXCHANGE,
    PROOF_NONE,
    PROOF_SILENT,
    PROOF_UNPROCESSED,
    PROTOCOL_AUTO,
    PROTOCOL_HTTP2,
    TIMER_EXCHANGE,
    buffer_t,
    client_codec_t,
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
    REASON_DEADLINE_EXCEEDED,
    REASON_DOWNSTREAM_CLOSED,
    REASON_DOWNSTREAM_STALLED,
    REASON_IDLE_TIMEOUT,
    REASON_NO_ENDPOINT,
    REASON_OVERLOADED,
    REASON_NO_ROUTE,
    REASON_NONE,
    REASON_POOL_EXHAUSTED,
    REASON_REQUEST_TIMEOUT,
    REASON_UPSTREAM_STALLED,
    REASON_UPSTREAM_TLS,
)
from fastmesh._core.request_key cimport request_key_hash
from fastmesh._core.stage_filter cimport filter_at_listener, filter_request, filter_tcp, find_client
from fastmesh._core.stage_route cimport find_route, use_route
from fastmesh._core.timer_wheel cimport wheel_cancel, wheel_set

cdef enum:
    CONNECT_TRIES = 2                   # of different endpoints, when connecting fails
    RETRIES_MAX = 3                     # in all, of what may have been seen by an endpoint
    REFUSALS_MAX = 20                   # in all, where each endpoint has said that it did not act
    CERTIFICATE_FIELD_BYTES = 32        # of X-Forwarded-Client-Cert, besides its value
    KEPT_MAX = 4096                     # exchanges whose memory is kept for reuse: less than 2 MiB
    DEADLINE_SLACK_NS = 10000000
    CALL_END_BYTES = 1024               # of the trailers that end a call that failed
    CALL_END_FIELDS = 4
    REPLAY_MAX_BYTES = 65536            # of a request body, kept for a second try

# ---- birth


cdef exchange_t* take_memory(worker_t* worker) noexcept nogil:
    cdef exchange_t* exchange = worker.free_exchanges
    if exchange == NULL:
        return <exchange_t*>malloc(sizeof(exchange_t))
    worker.free_exchanges = <exchange_t*>exchange.worker
    worker.free_exchange_count -= 1
    return exchange


cdef void give_memory(worker_t* worker, exchange_t* exchange) noexcept nogil:
    if not KEEPS_MEMORY or worker.free_exchange_count >= KEPT_MAX:
        free(exchange)
        return
    exchange.worker = <worker_t*>worker.free_exchanges
    worker.free_exchanges = exchange
    worker.free_exchange_count += 1


cdef void exchanges_free_all(worker_t* worker) noexcept nogil:
    while worker.free_exchanges != NULL:
        free(take_memory(worker))


cdef exchange_t* exchange_new(connection_t* downstream) noexcept nogil:
    cdef worker_t* worker = downstream.worker
    cdef exchange_t* exchange
    if downstream.listener.entry == NULL:
        return NULL                     # its listener is configured no more: nothing says how to serve it
    exchange = take_memory(worker)
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
    exchange.grpc_status = -1
    worker.stats.live[LIVE_EXCHANGE] += 1
    return exchange


cdef int exchange_set_request(exchange_t* exchange, const head_t* head) noexcept nogil:
    """Table first, then the text, in one buffer: it lives as long as the exchange, for a second try and for the log."""
    cdef size_t capacity = head.count + FORWARDING_ROOM_FIELDS
    cdef size_t text_cap = head.text_len + forward_request_room(head)
    if exchange.downstream.tls != NULL:
        text_cap += CERTIFICATE_FIELD_BYTES + exchange.downstream.tls.forwarded_len
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
    recognise_grpc(exchange)
    find_client(exchange)
    is_routed = find_route(exchange)
    reason = filter_at_listener(exchange)
    if reason == REASON_NONE:
        reason = filter_request(exchange) if is_routed else REASON_NO_ROUTE
    if reason == REASON_NONE and exchange.request.method_id == METHOD_CONNECT and not exchange.route.allows_connect:
        reason = REASON_CONNECT_NOT_SUPPORTED
    if reason:
        answer(exchange, reason, exchange.detail)
        return
    set_timer(exchange)
    attempt(exchange, NULL, False)


cdef void exchange_begin_tcp(exchange_t* exchange, route_entry_t* route) noexcept nogil:
    """A connection as one exchange without a head: the same limits, balancers, counters and log."""
    cdef uint8_t reason = filter_at_listener(exchange)
    exchange.flags |= EXCHANGE_TCP | EXCHANGE_TUNNEL
    if reason == REASON_NONE:
        reason = filter_tcp(exchange) if route != NULL and use_route(exchange, route) else REASON_NO_ROUTE
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


cdef const client_codec_t* client_codec(exchange_t* exchange) noexcept nogil:
    cdef worker_t* worker = exchange.worker
    cdef uint8_t protocol = exchange.destination.service.protocol
    if exchange.flags & EXCHANGE_TCP:
        return worker.tcp_client
    if protocol == PROTOCOL_AUTO:
        protocol = exchange.endpoint.protocol   # until ALPN has chosen: HTTP/1, which hands over when it is HTTP/2
    return worker.http2_client if protocol == PROTOCOL_HTTP2 else worker.http1_client


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
        worker, exchange.endpoint, service, client_codec(exchange), exchange.downstream, not can_send_twice(exchange),
        only_new, &result, &error
    )
    if exchange.upstream == NULL:
        if result == POOL_EXHAUSTED:
            answer(exchange, REASON_POOL_EXHAUSTED, b"pool.connections is reached")
        elif error == EMFILE or error == ENFILE or error == ENOBUFS or error == ENOMEM:
            answer(exchange, REASON_OVERLOADED, strerror(error))    # our fault, not the endpoint's
        else:
            service.stats.connect_failures += 1
            exchange.endpoint.stats.connect_failures += 1
            exchange_upstream_failed(exchange, REASON_CONNECT_FAILED, b"the connection could not be opened", PROOF_NONE)
        return
    exchange.upstream.requests += 1
    if exchange.upstream.is_reused:
        exchange.flags |= EXCHANGE_ON_REUSED
    exchange.upstream.client.attach(exchange)


# ---- forward: the request


cdef void exchange_connected(exchange_t* exchange) noexcept nogil:
    cdef bint is_end = not has_body(exchange) and not exchange.flags & EXCHANGE_TCP
    exchange.flags |= EXCHANGE_HEAD_SENT
    exchange.upstream_protocol = exchange.upstream.protocol
    exchange.sent_ns = exchange.worker.now_ns
    exchange.activity_ms = exchange.worker.now_ms
    if is_end:
        exchange.flags |= EXCHANGE_REQUEST_SENT
    if exchange.deadline_ns and not pass_on_deadline(exchange):
        fail(exchange, REASON_OVERLOADED, b"no room for the deadline")
        return
    exchange.upstream.client.head(exchange, is_end)
    if is_end:
        return
    if exchange.replay != NULL:
        exchange.upstream.client.body(
            exchange, buffer_data(exchange.replay), exchange.replay.end - exchange.replay.begin
        )
    if exchange.flags & EXCHANGE_REQUEST_COMPLETE:      # a second try: all of it is here
        exchange.flags |= EXCHANGE_REQUEST_SENT
        exchange.upstream.client.end(exchange, NULL)
    else:
        exchange.downstream.server.resume(exchange)


cdef bint exchange_takes_body(exchange_t* exchange) noexcept nogil:
    if exchange.upstream == NULL or not exchange.flags & EXCHANGE_HEAD_SENT:
        return False
    return not exchange.upstream.client.blocked(exchange)


cdef void keep_for_replay(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    """Where connections carry several exchanges, an endpoint may refuse one after its body was sent (RFC 9113 8.7)."""
    cdef buffer_t* kept = exchange.replay
    cdef size_t before = 0 if kept == NULL else kept.end
    if exchange.flags & EXCHANGE_NOT_REPLAYABLE:
        return
    if kept == NULL or buffer_room(kept) < length:
        exchange.replay = buffer_take(exchange.worker, before + length) if before + length <= REPLAY_MAX_BYTES else NULL
        if exchange.replay != NULL and kept != NULL:
            memcpy(buffer_data(exchange.replay), buffer_data(kept), before)
            exchange.replay.end = <uint32_t>before
        if kept != NULL:
            buffer_give(exchange.worker, kept)
        if exchange.replay == NULL:
            exchange.flags |= EXCHANGE_NOT_REPLAYABLE
            return
    memcpy(buffer_data(exchange.replay) + before, data, length)
    exchange.replay.end = <uint32_t>(before + length)


cdef void drop_replay(exchange_t* exchange) noexcept nogil:
    if exchange.replay != NULL:
        buffer_give(exchange.worker, exchange.replay)
        exchange.replay = NULL
    exchange.flags |= EXCHANGE_NOT_REPLAYABLE


cdef bint exchange_request_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    cdef uint64_t most = exchange.listener.body_max_bytes
    exchange.bytes_in += length
    exchange.activity_ms = exchange.worker.now_ms
    exchange.flags |= EXCHANGE_BODY_SENT
    if most and exchange.bytes_in > most and not exchange.flags & EXCHANGE_TUNNEL:
        fail(exchange, REASON_BODY_TOO_LARGE, b"")
        return False
    if exchange.upstream.client.multiplexes:
        keep_for_replay(exchange, data, length)
    else:
        exchange.flags |= EXCHANGE_NOT_REPLAYABLE
    exchange.upstream.client.body(exchange, data, length)
    return True


cdef void exchange_request_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    exchange.flags |= EXCHANGE_REQUEST_COMPLETE | EXCHANGE_REQUEST_SENT
    exchange.activity_ms = exchange.worker.now_ms
    if trailers != NULL:
        drop_replay(exchange)
        exchange.flags |= EXCHANGE_BODY_SENT    # like a body, they cannot be sent again
    exchange.upstream.client.end(exchange, trailers)
    if exchange.flags & EXCHANGE_TUNNEL:
        end_tunnel(exchange)


# ---- forward: the response


cdef bint exchange_is_tunnel_answer(exchange_t* exchange, const head_t* head) noexcept nogil:
    if head.status == 101:
        return True
    return exchange.request.method_id == METHOD_CONNECT and 200 <= head.status < 300


cdef void exchange_response_head(exchange_t* exchange, head_t* head) noexcept nogil:
    cdef bint failed
    exchange.activity_ms = exchange.worker.now_ms
    if head.status < 200 and head.status != 101:
        exchange.downstream.server.informational(exchange, head)
        return
    drop_replay(exchange)
    exchange.flags |= EXCHANGE_RESPONSE_STARTED
    exchange.status = head.status
    exchange.answered_ns = exchange.worker.now_ns
    if exchange.flags & EXCHANGE_GRPC and head.framing == FRAMING_NONE:
        note_grpc_status(exchange, head)            # trailers only
    failed = head.status >= 500 or head.status == 429
    load_observe(&exchange.endpoint.load, exchange.answered_ns - exchange.sent_ns, failed, exchange.worker.now_ns)
    if head.status >= 500:
        exchange.endpoint.stats.failures += 1
    if exchange_is_tunnel_answer(exchange, head):
        # The request ended with its head; from here on both directions are bytes, until both have ended.
        exchange.flags |= EXCHANGE_TUNNEL
        exchange.flags &= ~(EXCHANGE_REQUEST_COMPLETE | EXCHANGE_REQUEST_SENT)
    exchange.downstream.server.head(
        exchange, head, head.framing == FRAMING_NONE and not exchange.flags & EXCHANGE_TUNNEL
    )


cdef void exchange_response_body(exchange_t* exchange, const char* data, size_t length) noexcept nogil:
    exchange.bytes_out += length
    exchange.activity_ms = exchange.worker.now_ms
    exchange.downstream.server.body(exchange, data, length)


cdef void exchange_response_end(exchange_t* exchange, head_t* trailers) noexcept nogil:
    exchange.flags |= EXCHANGE_RESPONSE_COMPLETE
    if trailers != NULL and exchange.flags & EXCHANGE_GRPC:
        note_grpc_status(exchange, trailers)
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


cdef bint may_try_again(exchange_t* exchange, uint8_t reason, uint8_t proof) noexcept nogil:
    """Where no second answer can come of it: an endpoint that could not be reached, or that says it has not acted; a
    reused connection that ended before one byte of an answer, and a new one that was made for such a second try."""
    if exchange.flags & EXCHANGE_RESPONSE_STARTED:
        return False
    if exchange.flags & EXCHANGE_BODY_SENT and exchange.flags & EXCHANGE_NOT_REPLAYABLE:
        return False
    if reason == REASON_CONNECT_FAILED or reason == REASON_CONNECT_TIMEOUT or reason == REASON_UPSTREAM_TLS:
        exchange.connects_failed += 1
        return exchange.connects_failed < CONNECT_TRIES
    if proof == PROOF_UNPROCESSED:
        return exchange.retries < REFUSALS_MAX
    if exchange.retries >= RETRIES_MAX:
        return False
    if proof != PROOF_SILENT or not can_send_twice(exchange):
        return False
    return exchange.flags & EXCHANGE_ON_REUSED or exchange.retries > 0


cdef bint try_again(exchange_t* exchange, uint8_t reason, uint8_t proof) noexcept nogil:
    if not may_try_again(exchange, reason, proof):
        return False
    exchange.retries += 1
    exchange.destination.service.stats.retries += 1
    exchange.flags &= ~EXCHANGE_HEAD_SENT
    # On a new connection, and to another endpoint where there is one: this one may be going away.
    attempt(exchange, &exchange.endpoint.load, proof == PROOF_SILENT)
    return True


cdef void blame_endpoint(exchange_t* exchange) noexcept nogil:
    cdef uint64_t now_ns = exchange.worker.now_ns
    if exchange.endpoint == NULL:
        return
    exchange.endpoint.stats.failures += 1
    load_observe(
        &exchange.endpoint.load, now_ns - (exchange.sent_ns if exchange.sent_ns else exchange.begun_ns), True, now_ns
    )


cdef bint is_out_of_time(exchange_t* exchange) noexcept nogil:
    """The endpoint knows the deadline too, and may be the first to give up."""
    return exchange.deadline_ns and exchange.worker.now_ns + DEADLINE_SLACK_NS >= exchange.deadline_ns


cdef void exchange_upstream_failed(
    exchange_t* exchange, uint8_t reason, const char* detail, uint8_t proof
) noexcept nogil:
    exchange.upstream = NULL
    if is_out_of_time(exchange):
        fail(exchange, REASON_DEADLINE_EXCEEDED, detail)
        return
    if try_again(exchange, reason, proof):
        return
    blame_endpoint(exchange)
    fail(exchange, reason, detail)


cdef void exchange_upstream_gone(exchange_t* exchange) noexcept nogil:
    exchange.upstream = NULL
    finish(exchange)


cdef void fail(exchange_t* exchange, uint8_t reason, const char* detail) noexcept nogil:
    """Answer, or, where an answer has begun, cut it off."""
    if not exchange.flags & EXCHANGE_RESPONSE_STARTED:
        answer(exchange, reason, detail)
        return
    exchange.reason = reason
    exchange.detail = detail
    if exchange.flags & EXCHANGE_GRPC and exchange.status == 200:
        end_call(exchange)
    else:
        exchange.downstream.server.abort(exchange)
    finish(exchange)


cdef void end_call(exchange_t* exchange) noexcept nogil:
    """A call whose answer has begun still ends with a status that says why."""
    cdef head_t trailers
    cdef header_t[CALL_END_FIELDS] fields
    cdef char[CALL_END_BYTES] text
    memset(&trailers, 0, sizeof(trailers))
    trailers.text = text
    trailers.text_cap = CALL_END_BYTES
    trailers.headers = fields
    trailers.capacity = CALL_END_FIELDS
    append_grpc_status(exchange, &trailers)
    exchange.downstream.server.end(exchange, &trailers)


cdef void answer(exchange_t* exchange, uint8_t reason, const char* detail) noexcept nogil:
    """An answer of our own."""
    if exchange.upstream != NULL:
        exchange.upstream.client.cancel(exchange)
    exchange.reason = reason
    exchange.detail = detail
    exchange.flags |= EXCHANGE_RESPONSE_STARTED | EXCHANGE_RESPONSE_COMPLETE
    if exchange.flags & EXCHANGE_TCP:
        exchange.downstream.server.abort(exchange)      # nothing that we could say would be understood
    else:
        send_local_answer(exchange)
    finish(exchange)


cdef void exchange_downstream_gone(exchange_t* exchange) noexcept nogil:
    if not exchange.flags & EXCHANGE_TUNNEL or exchange.flags & EXCHANGE_TCP:   # other tunnels end like this
        exchange.reason = REASON_DOWNSTREAM_CLOSED
    finish(exchange)


# ---- timeouts


cdef uint64_t due_ms(exchange_t* exchange) noexcept nogil:
    """When patience ends; 0: never. Before the response head it is the request timeout, else the idle timeout; the
    client's own deadline counts always."""
    cdef uint64_t due = patience_ms(exchange)
    cdef uint64_t deadline_ms = exchange.deadline_ns // 1000000
    if deadline_ms and (due == 0 or deadline_ms < due):
        return deadline_ms
    return due


cdef uint64_t patience_ms(exchange_t* exchange) noexcept nogil:
    cdef service_entry_t* service = exchange.destination.service
    if exchange.flags & EXCHANGE_TCP:
        return exchange.activity_ms + exchange.listener.tcp_idle_timeout_ms
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
    cdef uint64_t until_deadline
    if service.idle_timeout_ms and (soonest == 0 or service.idle_timeout_ms < soonest):
        soonest = service.idle_timeout_ms
    if exchange.flags & EXCHANGE_TCP:
        soonest = exchange.listener.tcp_idle_timeout_ms
    if exchange.deadline_ns:
        until_deadline = 1
        if exchange.deadline_ns > exchange.worker.now_ns:
            until_deadline += (exchange.deadline_ns - exchange.worker.now_ns) // 1000000
        soonest = until_deadline if soonest == 0 or until_deadline < soonest else soonest
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
    if exchange.deadline_ns and exchange.worker.now_ns >= exchange.deadline_ns:
        fail(exchange, REASON_DEADLINE_EXCEEDED, b"")
        return
    if is_moving(exchange):
        exchange.activity_ms = exchange.worker.now_ms
        set_timer(exchange)
    elif exchange.flags & EXCHANGE_TUNNEL:
        exchange.reason = REASON_IDLE_TIMEOUT
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
    if exchange.replay != NULL:
        buffer_give(worker, exchange.replay)
    exchange.tables.references -= 1
    worker.stats.live[LIVE_EXCHANGE] -= 1
    give_memory(worker, exchange)
