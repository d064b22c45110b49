"""How a TLS connection begins: the ClientHello (RFC 8446 4.1.2, RFC 6066 3, RFC 7301 3.1), read without decrypting.

Sans-IO. For a listener that tells TLS from plain text, and for one that passes TLS on unopened, by the name that the
client asks for. With Encrypted Client Hello, that is the outer hello's name.
"""

from libc.stdint cimport uint8_t

cdef enum:                              # results of tls_hello_read
    TLS_HELLO_READ = 1
    TLS_HELLO_MORE = 0                  # more bytes are needed
    TLS_HELLO_NOT_TLS = -1              # not a handshake record
    TLS_HELLO_MALFORMED = -2            # it begins like TLS and goes wrong, or is too large

cdef enum:
    TLS_HELLO_MESSAGE_MAX_BYTES = 16384         # of the handshake message, its four-byte head included
    TLS_HELLO_MAX_BYTES = 16384 + 64 * 5        # of the connection, until the message must be whole: 64 records
    TLS_SERVER_NAME_MAX_BYTES = 255

cdef enum:                              # tls_hello_t.alpn, bits
    TLS_ALPN_HTTP1 = 1                  # "http/1.1"
    TLS_ALPN_HTTP2 = 2                  # "h2"
    TLS_ALPN_OTHER = 4

cdef struct tls_hello_t:
    # In lower case, no dot at its end, NUL behind; empty: none, or an IP address, which is no name (RFC 6066 3).
    char server_name[TLS_SERVER_NAME_MAX_BYTES + 1]
    uint8_t server_name_len
    uint8_t alpn                        # TLS_ALPN_*; 0: the client did not ask


# Whether a connection whose first byte is this may be TLS. No method of HTTP begins so.
cdef inline bint tls_looks_like(char first) noexcept nogil:
    return first == 22


# Read the ClientHello that `data` begins with, in one record or several: TLS_HELLO_*. It answers TLS_HELLO_MORE at most
# until there are TLS_HELLO_MAX_BYTES. What stands behind the message is not looked at.
cdef int tls_hello_read(const char* data, size_t length, tls_hello_t* hello) noexcept nogil
