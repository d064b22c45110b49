"""The part of the WebSocket handshake that only HTTP/1.1 has: Sec-WebSocket-Key and -Accept (RFC 6455 4, RFC 8441 5).

Where one side of an exchange speaks HTTP/2 and the other HTTP/1.1, we stand in for the side that has none. Sans-IO.
"""

from libc.stdint cimport uint8_t, uint64_t
from fastmesh._core.headers cimport head_t

cdef enum:
    WEBSOCKET_KEY_BYTES = 24
    WEBSOCKET_ACCEPT_BYTES = 28

# What answers a key.
cdef void websocket_accept(const char* key, size_t length, char* out) noexcept nogil
# Towards HTTP/1.1: a request without a key gets one; one whose key was hidden shows it again. -1: no room.
cdef int websocket_add_key(head_t* request, uint64_t* random) noexcept nogil
# Towards HTTP/2: the key stays with us.
cdef void websocket_hide_key(head_t* request) noexcept nogil
# From HTTP/1.1: whether the 101 answers the request's key, or the request is not for a WebSocket.
cdef bint websocket_accepts(const head_t* request, const head_t* answer) noexcept nogil
# From HTTP/2: make the answer a 101, with Upgrade, and the Accept for the key that was hidden, if one was. -1: no room.
cdef int websocket_complete(const head_t* request, head_t* answer) noexcept nogil
# Towards HTTP/2.
cdef void websocket_drop_accept(head_t* answer) noexcept nogil
