"""Names, statuses and explanations of the reasons."""

cdef struct entry_t:
    const char* name
    int status
    const char* text

# One row a reason, in the order of reason_t. Status 0: no answer is sent, the connection just ends.
cdef entry_t TABLE[REASON_COUNT]
TABLE[REASON_NONE] = entry_t(b"", 200, b"")
TABLE[REASON_BAD_REQUEST] = entry_t(b"bad_request", 400, b"the request is not valid HTTP")
TABLE[REASON_URI_TOO_LONG] = entry_t(b"uri_too_long", 414, b"the request line exceeds the listener's limit")
TABLE[REASON_HEAD_TOO_LARGE] = entry_t(b"head_too_large", 431, b"the request's headers exceed the listener's limits")
TABLE[REASON_HEAD_TIMEOUT] = entry_t(b"head_timeout", 408, b"the request's headers did not arrive in time")
TABLE[REASON_BODY_TOO_LARGE] = entry_t(b"body_too_large", 413, b"the request's body exceeds the listener's limit")
TABLE[REASON_BODY_TIMEOUT] = entry_t(b"body_timeout", 408, b"the request's body stopped arriving")
TABLE[REASON_VERSION_NOT_SUPPORTED] = entry_t(b"version_not_supported", 505, b"HTTP/1.0 and HTTP/1.1 are spoken here")
TABLE[REASON_DOWNSTREAM_CLOSED] = entry_t(b"downstream_closed", 0, b"the client went away")
TABLE[REASON_DOWNSTREAM_STALLED] = entry_t(b"downstream_stalled", 0, b"the client stopped reading")
TABLE[REASON_NO_ROUTE] = entry_t(b"no_route", 404, b"no route matches this request")
TABLE[REASON_NO_ENDPOINT] = entry_t(b"no_endpoint", 503, b"the service has no endpoint that could take the request")
TABLE[REASON_RATE_LIMITED] = entry_t(b"rate_limited", 429, b"too many requests")
TABLE[REASON_OVERLOADED] = entry_t(b"overloaded", 503, b"the proxy has no room for another request")
TABLE[REASON_POOL_EXHAUSTED] = entry_t(b"pool_exhausted", 503, b"the service's connections are all in use")
TABLE[REASON_DRAINING] = entry_t(b"draining", 503, b"the proxy is going away")
TABLE[REASON_CONNECT_FAILED] = entry_t(b"connect_failed", 503, b"the endpoint refused the connection")
TABLE[REASON_CONNECT_TIMEOUT] = entry_t(b"connect_timeout", 503, b"no connection to the endpoint in time")
TABLE[REASON_REQUEST_TIMEOUT] = entry_t(b"request_timeout", 504, b"the service did not answer in time")
TABLE[REASON_UPSTREAM_RESET] = entry_t(b"upstream_reset", 502, b"the endpoint hung up before it answered")
TABLE[REASON_UPSTREAM_MALFORMED] = entry_t(b"upstream_malformed", 502, b"the endpoint's answer is not valid HTTP")
TABLE[REASON_UPSTREAM_STALLED] = entry_t(b"upstream_stalled", 504, b"the endpoint stopped in the middle of its answer")
TABLE[REASON_UPSTREAM_TRUNCATED] = entry_t(b"upstream_truncated", 502, b"the endpoint's answer ended before its end")
TABLE[REASON_CONNECT_NOT_SUPPORTED] = entry_t(b"connect_not_supported", 501, b"CONNECT is not offered here")
TABLE[REASON_DEADLINE_EXCEEDED] = entry_t(b"deadline_exceeded", 504, b"the client's own deadline has passed")
TABLE[REASON_UPSTREAM_TLS] = entry_t(b"upstream_tls", 503, b"the connection to the endpoint could not be secured")
TABLE[REASON_UPSTREAM_REFUSED] = entry_t(b"upstream_refused", 503, b"the endpoint takes no more requests")
TABLE[REASON_UPGRADE_REFUSED] = entry_t(b"upgrade_refused", 502, b"the endpoint does not speak the protocol asked for")

TABLE[REASON_PROXY_HEADER] = entry_t(b"proxy_header", 0, b"the connection does not begin with a sound PROXY header")
TABLE[REASON_IDLE_TIMEOUT] = entry_t(b"idle_timeout", 0, b"no byte went either way for too long")


cdef const char* reason_name(uint8_t reason) noexcept nogil:
    if reason >= REASON_COUNT:
        return b"unknown"
    return TABLE[reason].name


cdef int reason_status(uint8_t reason) noexcept nogil:
    return TABLE[reason].status if reason < REASON_COUNT else 500


cdef const char* reason_text(uint8_t reason) noexcept nogil:
    if reason >= REASON_COUNT:
        return b""
    return TABLE[reason].text


NAMES = tuple([TABLE[i].name.decode() for i in range(REASON_COUNT)])
STATUSES = tuple([TABLE[i].status for i in range(REASON_COUNT)])
TEXTS = tuple([TABLE[i].text.decode() for i in range(REASON_COUNT)])
