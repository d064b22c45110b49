"""The key by which a hash balancer chooses, or a rate limit counts: header, cookie, address of the client, path."""

from libc.stdint cimport uint64_t
from fastmesh._core.live cimport exchange_t, key_t, tls_t

# XXH64, the same in every worker and on every node; of nothing when the request has no such value.
cdef uint64_t request_key_hash(exchange_t* exchange, const key_t* key) noexcept nogil
# With the mesh's secret: for tables whose keys a stranger picks.
cdef uint64_t request_key_secret_hash(exchange_t* exchange, const key_t* key) noexcept nogil
