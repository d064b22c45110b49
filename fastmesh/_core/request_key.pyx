"""The key by which a hash balancer chooses, or a rate limit counts: header, cookie, address of the client, path."""

from fastmesh._core.hashing cimport keyed_hash, splitmix64, xxh64
from fastmesh._core.headers cimport IDENTITY_PARTS, head_cookie, header_t, headers_find_name

cdef enum key_source_t:                 # snapshot.KeySource
    KEY_NONE = 0
    KEY_HEADER = 1
    KEY_COOKIE = 2
    KEY_SOURCE_ADDRESS = 3
    KEY_PATH = 4
    KEY_CLIENT = 5


cdef const char* find_identity(const tls_t* tls, size_t* length) noexcept nogil:
    """URI, else DNS name, else subject."""
    cdef int part
    if tls == NULL or tls.identity_text == NULL:
        return NULL
    for part in range(IDENTITY_PARTS):
        if tls.identity_len[part]:
            length[0] = tls.identity_len[part]
            return tls.identity_text + tls.identity_at[part]
    return NULL


cdef const char* find_value(exchange_t* exchange, const key_t* key, size_t* length) noexcept nogil:
    cdef header_t* header
    length[0] = 0
    if key.source == KEY_HEADER:
        header = headers_find_name(&exchange.request, key.name, key.name_len)
        if header == NULL:
            return NULL
        length[0] = header.value_len
        return exchange.request.text + header.value_off
    if key.source == KEY_COOKIE:
        return head_cookie(&exchange.request, key.name, key.name_len, length)
    if key.source == KEY_SOURCE_ADDRESS:
        if exchange.client_len:
            length[0] = exchange.client_len
            return exchange.request.text + exchange.client_off
        length[0] = exchange.downstream.peer_len
        return exchange.downstream.peer
    if key.source == KEY_CLIENT:
        return find_identity(exchange.downstream.tls, length)
    if key.source == KEY_PATH:
        length[0] = exchange.request.path_len
        return exchange.request.text + exchange.request.path_off
    return NULL


cdef uint64_t request_key_hash(exchange_t* exchange, const key_t* key) noexcept nogil:
    cdef size_t length
    cdef const char* value
    if key.source == KEY_NONE:
        return 0
    value = find_value(exchange, key, &length)
    if value == NULL:
        return splitmix64(&exchange.worker.random)      # nothing to stick to: spread
    return xxh64(value, length, 0)


cdef uint64_t request_key_secret_hash(exchange_t* exchange, const key_t* key) noexcept nogil:
    cdef size_t length
    cdef const char* value
    if key.source == KEY_NONE:
        return 0
    value = find_value(exchange, key, &length)
    if value == NULL:
        return keyed_hash(b"", 0, &exchange.worker.secret)      # all without a value share one bucket
    return keyed_hash(value, length, &exchange.worker.secret)
