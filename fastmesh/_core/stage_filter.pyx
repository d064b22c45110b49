"""The stage `filter`: what may stop or change a request between its route and its endpoint."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastmesh._core.forwarded_for cimport forwarded_for_first, forwarded_for_is_address
from fastmesh._core.forwarding cimport REQUEST_ID_BYTES, forward_request, forwarding_t
from fastmesh._core.headers cimport FRAMING_LENGTH
from fastmesh._core.limiter cimport limiter_take
from fastmesh._core.live cimport limit_entry_t, tls_listener_t, tls_t
from fastmesh._core.reason cimport REASON_BODY_TOO_LARGE, REASON_NONE, REASON_OVERLOADED, REASON_RATE_LIMITED
from fastmesh._core.request_id cimport request_id_write
from fastmesh._core.request_key cimport request_key_secret_hash


cdef const char* PLAIN = b"http"
cdef const char* SECURE = b"https"


cdef void find_client(exchange_t* exchange) noexcept nogil:
    cdef uint32_t length = 0
    cdef const char* first
    if exchange.listener.trusted_hops == 0:
        return
    first = forwarded_for_first(&exchange.request, exchange.listener.trusted_hops, &length)
    if first != NULL and forwarded_for_is_address(first, length):
        exchange.client_off = <uint32_t>(first - exchange.request.text)
        exchange.client_len = length


cdef bint within_limit(exchange_t* exchange, limit_entry_t* entry) noexcept nogil:
    cdef uint64_t wait_ns
    if entry == NULL:
        return True
    wait_ns = limiter_take(
        &exchange.worker.shared.limiter,
        &entry.limit,
        request_key_secret_hash(exchange, &entry.key),
        exchange.worker.now_ns,
    )
    if wait_ns == 0:
        return True
    exchange.retry_after_s = <uint32_t>(wait_ns // 1000000000) + 1
    return False


cdef bint exceeds_body_limit(exchange_t* exchange) noexcept nogil:
    cdef uint64_t most = exchange.listener.body_max_bytes
    return most and exchange.request.framing == FRAMING_LENGTH and exchange.request.content_length > most


cdef void tell_certificate(exchange_t* exchange, forwarding_t* forwarding) noexcept nogil:
    cdef const tls_t* tls = exchange.downstream.tls
    cdef const tls_listener_t* settings = exchange.listener.tls
    forwarding.certificate = NULL
    forwarding.certificate_len = 0
    if tls == NULL or tls.identity_text == NULL or settings == NULL or not settings.forwards_client_certificate:
        return
    forwarding.certificate = tls.identity_text + tls.forwarded_at
    forwarding.certificate_len = tls.forwarded_len


cdef int rewrite_request(exchange_t* exchange) noexcept nogil:
    cdef char[REQUEST_ID_BYTES] request_id
    cdef forwarding_t forwarding
    forwarding.client = exchange.downstream.peer
    forwarding.client_len = exchange.downstream.peer_len
    forwarding.scheme = SECURE if exchange.downstream.tls != NULL else PLAIN
    forwarding.scheme_len = 5 if exchange.downstream.tls != NULL else 4
    forwarding.trusted_hops = exchange.listener.trusted_hops
    forwarding.via = exchange.listener.via
    forwarding.via_len = exchange.listener.via_len
    tell_certificate(exchange, &forwarding)
    request_id_write(&exchange.worker.random, request_id)
    return forward_request(&exchange.request, &forwarding, request_id)


cdef uint8_t filter_at_listener(exchange_t* exchange) noexcept nogil:
    return REASON_NONE if within_limit(exchange, exchange.listener.limit) else REASON_RATE_LIMITED


cdef uint8_t filter_tcp(exchange_t* exchange) noexcept nogil:
    if not within_limit(exchange, exchange.route.limit):
        return REASON_RATE_LIMITED
    return REASON_NONE if within_limit(exchange, exchange.destination.service.limit) else REASON_RATE_LIMITED


cdef uint8_t filter_request(exchange_t* exchange) noexcept nogil:
    """In the order of their cost: what stops a request comes before what changes it."""
    if not within_limit(exchange, exchange.route.limit):
        return REASON_RATE_LIMITED
    if not within_limit(exchange, exchange.destination.service.limit):
        return REASON_RATE_LIMITED
    if exceeds_body_limit(exchange):
        return REASON_BODY_TOO_LARGE
    if rewrite_request(exchange) < 0:
        exchange.detail = b"no room for the forwarding headers"
        return REASON_OVERLOADED
    return REASON_NONE
