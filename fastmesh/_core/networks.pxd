"""Blocks of addresses. Sans-IO. IPv4 is written as ::ffff:a.b.c.d, so that one comparison serves both."""

from libc.stdint cimport uint8_t, uint32_t

cdef struct network_t:              # a CIDR block
    uint8_t[16] address
    uint8_t prefix_bits

# From CIDR blocks as text; freed by the caller.
cdef network_t* networks_new(tuple blocks) except NULL
# Whether an address, as text, lies in one of the blocks.
cdef bint networks_contain(const network_t* networks, uint32_t count, const char* address) noexcept nogil
