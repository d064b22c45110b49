"""PROXY protocol: a line of text (version 1) or a block of bytes (version 2), told apart by how they begin."""

from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from fastmesh._core.ascii cimport ASCII_DIGIT, ASCII_HEX, ascii_is

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET, AF_INET6
    int inet_pton(int family, const char* text, void* address)
    const char* inet_ntop(int family, const void* address, char* text, unsigned int capacity)

cdef enum:
    V1_START_BYTES = 6
    V2_SIGNATURE_BYTES = 12
    V2_FIXED_BYTES = 16                 # signature, version and command, family and protocol, length
    V2_LOCAL = 0x20                     # version 2 and the command
    V2_PROXY = 0x21
    V2_TCP_IPV4 = 0x11                  # family and protocol
    V2_TCP_IPV6 = 0x21
    V2_IPV4_BYTES = 12
    V2_IPV6_BYTES = 36
    V2_UNIX_BYTES = 216
    TLV_HEAD_BYTES = 3

cdef const char* V1_START = b"PROXY "
cdef const char* V1_UNKNOWN_LINE = b"PROXY UNKNOWN\r\n"
cdef const char* V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
cdef const char* IPV4_MAPPED = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"

# Two addresses of one family, in network order.
cdef struct pair_t:
    uint8_t source[16]
    uint8_t destination[16]
    int family                          # AF_INET, AF_INET6 or 0


cdef inline uint16_t read_u16(const char* at) noexcept nogil:
    return <uint16_t>((<uint8_t>at[0]) << 8 | <uint8_t>at[1])


cdef inline char* write_u16(char* at, uint16_t value) noexcept nogil:
    at[0] = <char>(value >> 8)
    at[1] = <char>(value & 255)
    return at + 2


# ---- version 1


cdef const char* read_address(const char* at, const char* end, int family, char* text) noexcept nogil:
    # An address and the space behind it. Read and written anew, so that one address has one text.
    cdef uint8_t address[16]
    cdef const char* start = at
    while at < end and (ascii_is(at[0], ASCII_HEX) or at[0] == 46 or at[0] == 58):
        at += 1
    if at == start or at == end or at[0] != 32 or at - start >= PROXY_ADDRESS_BYTES:
        return NULL
    memcpy(text, start, at - start)
    text[at - start] = 0
    if inet_pton(family, text, address) != 1:
        return NULL
    inet_ntop(family, address, text, PROXY_ADDRESS_BYTES)
    return at + 1


cdef const char* read_port(const char* at, const char* end, uint16_t* port) noexcept nogil:
    # Canonical: no sign, no leading zero.
    cdef const char* start = at
    cdef uint32_t value = 0
    while at < end and at - start < 5 and ascii_is(at[0], ASCII_DIGIT):
        value = value * 10 + <uint32_t>(at[0] - 48)
        at += 1
    if at == start or value > 65535 or (start[0] == 48 and at - start > 1):
        return NULL
    port[0] = <uint16_t>value
    return at


cdef bint read_v1_line(const char* at, const char* end, proxy_header_t* header) noexcept nogil:
    # Between "PROXY " and CR LF.
    cdef int family
    if end - at >= 7 and memcmp(at, b"UNKNOWN", 7) == 0:
        # Whatever follows is to be ignored.
        return end - at == 7 or at[7] == 32
    if end - at < 5 or memcmp(at, b"TCP", 3) != 0 or at[4] != 32 or not (at[3] == 52 or at[3] == 54):
        return False
    header.family = PROXY_IPV4 if at[3] == 52 else PROXY_IPV6
    family = AF_INET if at[3] == 52 else AF_INET6
    at = read_address(at + 5, end, family, header.source)
    if at == NULL:
        return False
    at = read_address(at, end, family, header.destination)
    if at == NULL:
        return False
    at = read_port(at, end, &header.source_port)
    if at == NULL or at == end or at[0] != 32:
        return False
    return read_port(at + 1, end, &header.destination_port) == end


cdef int read_v1(const char* data, size_t length, proxy_header_t* header) noexcept nogil:
    cdef size_t readable = length if length < PROXY_V1_MAX_BYTES else PROXY_V1_MAX_BYTES
    cdef const char* lf = <const char*>memchr(data, 10, readable)
    if lf == NULL:
        return PROXY_MORE if length < PROXY_V1_MAX_BYTES else PROXY_MALFORMED
    if (lf - 1)[0] != 13 or not read_v1_line(data + V1_START_BYTES, lf - 1, header):
        return PROXY_MALFORMED
    return <int>(lf + 1 - data)


# ---- version 2


cdef int v2_address_bytes(uint8_t family) noexcept nogil:
    # Both addresses and ports of a family (high nibble) and protocol (low nibble); -1: not assigned.
    if family & 15 > 2:
        return -1
    if family >> 4 == 0:
        return 0
    if family >> 4 == 1:
        return V2_IPV4_BYTES
    if family >> 4 == 2:
        return V2_IPV6_BYTES
    return V2_UNIX_BYTES if family >> 4 == 3 else -1


cdef bint tlvs_add_up(const char* at, const char* end) noexcept nogil:
    cdef size_t length
    while at < end:
        if end - at < TLV_HEAD_BYTES:
            return False
        length = TLV_HEAD_BYTES + <size_t>read_u16(at + 1)
        if <size_t>(end - at) < length:
            return False
        at += length
    return True


cdef void read_v2_addresses(const char* at, uint8_t family, proxy_header_t* header) noexcept nogil:
    cdef size_t size = 4 if family == V2_TCP_IPV4 else 16
    cdef int named = AF_INET if family == V2_TCP_IPV4 else AF_INET6
    header.family = PROXY_IPV4 if family == V2_TCP_IPV4 else PROXY_IPV6
    inet_ntop(named, at, header.source, PROXY_ADDRESS_BYTES)
    inet_ntop(named, at + size, header.destination, PROXY_ADDRESS_BYTES)
    header.source_port = read_u16(at + 2 * size)
    header.destination_port = read_u16(at + 2 * size + 2)


cdef int read_v2(const char* data, size_t length, proxy_header_t* header) noexcept nogil:
    cdef uint8_t command, family
    cdef int address_bytes
    cdef size_t whole
    if length < V2_FIXED_BYTES:
        return PROXY_MORE
    command = <uint8_t>data[12]
    family = <uint8_t>data[13]
    address_bytes = v2_address_bytes(family)
    whole = V2_FIXED_BYTES + <size_t>read_u16(data + 14)
    if not (command == V2_LOCAL or command == V2_PROXY) or address_bytes < 0 or whole > PROXY_MAX_BYTES:
        return PROXY_MALFORMED
    if command == V2_PROXY and whole < V2_FIXED_BYTES + <size_t>address_bytes:
        return PROXY_MALFORMED
    if length < whole:
        return PROXY_MORE
    # What follows a LOCAL command or no family has no form that holds: it is skipped whole.
    if command == V2_PROXY and family >> 4 != 0:
        if not tlvs_add_up(data + V2_FIXED_BYTES + address_bytes, data + whole):
            return PROXY_MALFORMED
        if family == V2_TCP_IPV4 or family == V2_TCP_IPV6:
            read_v2_addresses(data + V2_FIXED_BYTES, family, header)
    return <int>whole


cdef int read_either(const char* data, size_t length, proxy_header_t* header) noexcept nogil:
    if length == 0:
        return PROXY_MORE
    if memcmp(data, V1_START, length if length < V1_START_BYTES else V1_START_BYTES) == 0:
        return PROXY_MORE if length < V1_START_BYTES else read_v1(data, length, header)
    if memcmp(data, V2_SIGNATURE, length if length < V2_SIGNATURE_BYTES else V2_SIGNATURE_BYTES) == 0:
        return read_v2(data, length, header)
    return PROXY_NONE


cdef int proxy_read(const char* data, size_t length, proxy_header_t* header) noexcept nogil:
    cdef int result
    memset(header, 0, sizeof(proxy_header_t))
    result = read_either(data, length, header)
    if result <= 0:
        memset(header, 0, sizeof(proxy_header_t))       # of a malformed line, some was read
    return result


# ---- writing


cdef int address_of(const char* text, uint8_t* address) noexcept nogil:
    if text == NULL:
        return 0
    if inet_pton(AF_INET, text, address) == 1:
        return AF_INET
    return AF_INET6 if inet_pton(AF_INET6, text, address) == 1 else 0


cdef void map_ipv4(uint8_t* address) noexcept nogil:
    memcpy(address + 12, address, 4)
    memcpy(address, IPV4_MAPPED, 12)


cdef void read_pair(pair_t* pair, const char* source, const char* destination) noexcept nogil:
    cdef int from_family = address_of(source, pair.source)
    cdef int to_family = address_of(destination, pair.destination)
    pair.family = from_family if to_family != 0 else 0
    if pair.family != 0 and from_family != to_family:
        if from_family == AF_INET:
            map_ipv4(pair.source)
        else:
            map_ipv4(pair.destination)
        pair.family = AF_INET6


cdef char* write_address(char* out, int family, const uint8_t* address) noexcept nogil:
    inet_ntop(family, address, out, PROXY_ADDRESS_BYTES)
    out += strlen(out)
    out[0] = 32
    return out + 1


cdef char* write_port(char* out, uint16_t port) noexcept nogil:
    cdef char digits[5]
    cdef int count = 0
    while port > 0 or count == 0:
        digits[count] = <char>(48 + port % 10)
        port = port // 10
        count += 1
    while count > 0:
        count -= 1
        out[0] = digits[count]
        out += 1
    return out


cdef size_t proxy_write_v1(
    char* out, const char* source, uint16_t source_port, const char* destination, uint16_t destination_port
) noexcept nogil:
    # inet_ntop writes at most 39 bytes of an address, since "::ffff:255.255.255.255" is its longest of the mixed form:
    # 104 bytes at the most.
    cdef pair_t pair
    cdef char* at = out
    read_pair(&pair, source, destination)
    if pair.family == 0:
        memcpy(out, V1_UNKNOWN_LINE, strlen(V1_UNKNOWN_LINE))
        return strlen(V1_UNKNOWN_LINE)
    memcpy(at, b"PROXY TCP4 ", 11)
    if pair.family == AF_INET6:
        at[9] = 54
    at = write_address(at + 11, pair.family, pair.source)
    at = write_address(at, pair.family, pair.destination)
    at = write_port(at, source_port)
    at[0] = 32
    at = write_port(at + 1, destination_port)
    memcpy(at, b"\r\n", 2)
    return at + 2 - out


cdef size_t proxy_write_v2(
    char* out, const char* source, uint16_t source_port, const char* destination, uint16_t destination_port
) noexcept nogil:
    cdef pair_t pair
    cdef size_t size
    cdef char* at = out + 14
    read_pair(&pair, source, destination)
    memcpy(out, V2_SIGNATURE, V2_SIGNATURE_BYTES)
    out[12] = V2_PROXY
    if pair.family == 0:
        # LOCAL, not PROXY without a family: HAProxy ends the connection on that.
        out[12] = V2_LOCAL
        out[13] = 0
        return write_u16(at, 0) - out
    size = 4 if pair.family == AF_INET else 16
    out[13] = V2_TCP_IPV4 if pair.family == AF_INET else V2_TCP_IPV6
    at = write_u16(at, <uint16_t>(2 * size + 4))
    memcpy(at, pair.source, size)
    memcpy(at + size, pair.destination, size)
    at = write_u16(at + 2 * size, source_port)
    return write_u16(at, destination_port) - out


# ---- the face for tests

NONE = PROXY_NONE
MALFORMED = PROXY_MALFORMED
MAX_BYTES = PROXY_MAX_BYTES


def read(bytes data not None):
    cdef proxy_header_t header
    cdef int result = proxy_read(data, len(data), &header)
    source = (<bytes>header.source).decode()
    destination = (<bytes>header.destination).decode()
    return result, header.family, source, header.source_port, destination, header.destination_port


def write_v1(bytes source not None, uint16_t source_port, bytes destination not None, uint16_t destination_port):
    cdef char out[PROXY_V1_MAX_BYTES]
    return out[:proxy_write_v1(out, source, source_port, destination, destination_port)]


def write_v2(bytes source not None, uint16_t source_port, bytes destination not None, uint16_t destination_port):
    cdef char out[PROXY_V2_WRITE_MAX_BYTES]
    return out[:proxy_write_v2(out, source, source_port, destination, destination_port)]
