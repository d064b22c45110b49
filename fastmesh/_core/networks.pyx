"""Blocks of addresses."""

from libc.string cimport memcmp, memcpy

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET, AF_INET6
    int inet_pton(int family, const char* text, void* address)

cdef const char* IPV4_MAPPED = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"


cdef bint matches(const network_t* network, const uint8_t* address) noexcept nogil:
    cdef size_t whole = network.prefix_bits // 8
    cdef int rest = network.prefix_bits % 8
    if memcmp(network.address, address, whole) != 0:
        return False
    return rest == 0 or (network.address[whole] ^ address[whole]) >> (8 - rest) == 0


cdef bint networks_contain(const network_t* networks, uint32_t count, const char* address) noexcept nogil:
    cdef uint8_t[16] bytes
    cdef uint32_t i
    if inet_pton(AF_INET, address, &bytes[12]) == 1:
        memcpy(bytes, IPV4_MAPPED, 12)
    elif inet_pton(AF_INET6, address, bytes) != 1:
        return False
    for i in range(count):
        if matches(&networks[i], bytes):
            return True
    return False
