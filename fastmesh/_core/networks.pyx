"""Blocks of addresses."""

import ipaddress

from libc.stdlib cimport calloc
from libc.string cimport memcmp, memcpy

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET, AF_INET6
    int inet_pton(int family, const char* text, void* address)

cdef const char* IPV4_MAPPED = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"


cdef network_t* networks_new(tuple blocks) except NULL:
    cdef list parsed = [ipaddress.ip_network(block) for block in blocks]
    cdef network_t* networks = <network_t*>calloc(len(blocks) + 1, sizeof(network_t))
    cdef bytes packed
    cdef uint32_t i
    if networks == NULL:
        raise MemoryError()
    for i, network in enumerate(parsed):
        packed = network.network_address.packed
        if network.version == 4:
            packed = IPV4_MAPPED[:12] + packed
        memcpy(networks[i].address, <const char*>packed, 16)
        networks[i].prefix_bits = network.prefixlen + (96 if network.version == 4 else 0)
    return networks


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
