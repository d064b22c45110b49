"""What a client's connection is before its codec is known: PROXY header, TLS or not, and which protocol.

    PROXY -> FIRST -> (a codec)                     told by the listener alone, or by the first bytes
             FIRST -> SECURING -> SECURED -> (a codec)      by ALPN, or by the first bytes inside

Bytes are looked at where they lie, in the socket; only a PROXY header is taken out. So TLS, or the codec, finds all of
them. Inside TLS they become the connection's input.
"""

from fastmesh._core.live cimport connection_t, listener_entry_t

cdef enum opening_phase_t:
    OPENING_DONE = 0                    # a codec has it
    OPENING_PROXY = 1                   # the PROXY header is to come
    OPENING_FIRST = 2                   # nothing is known of its bytes
    OPENING_SECURED = 3                 # the same, inside TLS

# Whether the connections of this listener begin here; the others are HTTP/1's at once.
cdef bint opening_is_needed(const listener_entry_t* entry) noexcept nogil
# An accepted connection; its codec may have it, or it may be closed, on return.
cdef void opening_begin(connection_t* connection) noexcept nogil
