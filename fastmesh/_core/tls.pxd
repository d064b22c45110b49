"""TLS of one connection, in memory: records in, records out. Its socket is transport.pyx's, its contexts are Python's.

The SSL reads from one memory BIO and writes to another. Both grow with what they held and never shrink, so they are
replaced when they have held much and are empty: an idle connection keeps no record.

What the peer proved to be (tls_t.identity_text) is read from its certificate once, after the handshake.
"""

from libc.stdint cimport int64_t, uint8_t
from fastmesh._core.live cimport connection_t, endpoint_t, service_entry_t, tls_t, worker_t

cdef enum tls_result_t:
    TLS_FAILED = -1                     # tls.failure and tls.detail say why
    TLS_WAITS = 0                       # for more input
    TLS_DONE = 1

cdef enum:
    TLS_RECORD_BYTES = 16384            # of plaintext, at most
    TLS_RECORD_EXTRA = 256              # what encryption adds to a record, at most
    TLS_RECORDS_BYTES = 262144          # worker_t.records

# With the GIL, before the first connection of an engine: its room for records, and the function that reads a
# certificate: identify(der) -> (uri, dns, subject, forwarded), bytes, or None if it is not to be trusted.
cdef int tls_start_up(worker_t* worker, object identify) except -1
# A context of a listener asks our functions for certificate (SNI) and protocol (ALPN).
cdef void tls_prepare_listener(void* ssl_ctx) noexcept nogil

# A new connection's TLS in the server's role, by its listener's settings; in the client's, by the service's. What is in
# connection.input came before and is where the records begin. -1: no memory.
cdef int tls_accept(connection_t* connection) noexcept nogil
cdef int tls_connect(connection_t* connection, const service_entry_t* service) noexcept nogil
cdef void tls_free(worker_t* worker, tls_t* tls) noexcept nogil
# Go on with it; a tls_result_t. Whatever the result, records may have been written.
cdef int tls_handshake(connection_t* connection) noexcept nogil
cdef void tls_fail(tls_t* tls, uint8_t failure, const char* detail) noexcept nogil
# The protocol that ALPN chose: PROTOCOL_HTTP2, PROTOCOL_HTTP1; PROTOCOL_HTTP: none.
cdef uint8_t tls_protocol(const tls_t* tls) noexcept nogil

# Records came. -1: no memory.
cdef int tls_feed(tls_t* tls, const char* records, size_t length) noexcept nogil
# Decrypt what has come: how many bytes. 0: nothing yet, or tls.has_ended, or tls.is_broken. tls.has_pending: there is
# more than there was room for.
cdef int64_t tls_decrypt(tls_t* tls, char* data, size_t room) noexcept nogil
# Encrypt up to TLS_RECORD_BYTES, all of them. How many bytes it became at `out`, which has room for TLS_RECORD_EXTRA
# more; -1: broken.
cdef int64_t tls_encrypt(tls_t* tls, const char* data, size_t length, char* out, size_t room) noexcept nogil
# Records that the protocol itself has to send: handshake, alert, key update. How many bytes were written to `out`.
cdef size_t tls_take_records(tls_t* tls, char* out, size_t room) noexcept nogil
cdef bint tls_has_records(tls_t* tls) noexcept nogil
# Everything written has been taken: give memory back.
cdef void tls_settle(tls_t* tls) noexcept nogil
# Write close_notify.
cdef void tls_say_end(tls_t* tls) noexcept nogil

# Remember the session, for the next connection to the endpoint.
cdef void tls_keep_session(connection_t* connection) noexcept nogil
cdef void tls_forget_session(endpoint_t* endpoint) noexcept nogil
