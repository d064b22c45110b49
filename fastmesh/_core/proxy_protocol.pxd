"""The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who was connected to the proxy before us.

Sans-IO. The header stands before everything else on a connection, once. Whoever may send it may claim any address: a
listener reads it only where it was told that all its clients send one.
"""

from libc.stdint cimport uint8_t, uint16_t

cdef enum:                              # results of proxy_read below 0
    PROXY_NONE = -1                     # the connection does not begin with a PROXY header
    PROXY_MALFORMED = -2                # it does, but what follows is not one, or is too large

cdef enum:
    PROXY_MORE = 0                      # more bytes are needed
    PROXY_MAX_BYTES = 2048              # of a header that is read; one of version 1 has at most PROXY_V1_MAX_BYTES
    PROXY_V1_MAX_BYTES = 107
    PROXY_V2_WRITE_MAX_BYTES = 52       # without TLVs
    PROXY_ADDRESS_BYTES = 46            # the longest address as text, and its NUL

cdef enum:                              # proxy_family_t
    PROXY_UNSPECIFIED = 0               # LOCAL, UNKNOWN, or no TCP over IP: the connection's own addresses hold
    PROXY_IPV4 = 4
    PROXY_IPV6 = 6

cdef struct proxy_header_t:
    char source[PROXY_ADDRESS_BYTES]            # as inet_ntop writes it, NUL at its end; empty: unspecified
    char destination[PROXY_ADDRESS_BYTES]
    uint16_t source_port                        # host order
    uint16_t destination_port
    uint8_t family                              # proxy_family_t

# Read the header that `data` begins with. > 0: its length in bytes, and `header` is filled in; PROXY_MORE as long as
# these bytes may become one, which PROXY_MAX_BYTES decide at last; or PROXY_NONE, PROXY_MALFORMED. The TLVs of version
# 2 are passed over: their lengths must add up, their contents (authority, TLS, checksum) are not looked at.
cdef int proxy_read(const char* data, size_t length, proxy_header_t* header) noexcept nogil

# Write a header; the bytes written. An IPv4 address beside an IPv6 one is written as IPv4-mapped; where one is no
# address (NULL, a Unix socket), the header says that nothing is known (UNKNOWN, LOCAL). `out` has room for
# PROXY_V1_MAX_BYTES, or PROXY_V2_WRITE_MAX_BYTES; the addresses end with NUL.
cdef size_t proxy_write_v1(
    char* out, const char* source, uint16_t source_port, const char* destination, uint16_t destination_port
) noexcept nogil
cdef size_t proxy_write_v2(
    char* out, const char* source, uint16_t source_port, const char* destination, uint16_t destination_port
) noexcept nogil
