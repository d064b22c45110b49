"""The part of the WebSocket handshake that only HTTP/1.1 has. SHA-1 proves here that a server means it, no more."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.ascii cimport ascii_equal, ascii_lower
from fastmesh._core.hashing cimport splitmix64
from fastmesh._core.headers cimport (
    HEADER_DROPPED,
    HEADER_OTHER,
    HEADER_UPGRADE,
    header_t,
    headers_append,
    headers_find,
)

cdef enum:
    KEY_MAX_BYTES = 128
    GUID_BYTES = 36
    SHA1_BYTES = 20
    BLOCK_BYTES = 64
    BLOCKS_MAX_BYTES = 192              # KEY_MAX_BYTES + GUID_BYTES, padded

cdef const char* GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
cdef const char* BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef const char* KEY_NAME = b"sec-websocket-key"
cdef const char* ACCEPT_NAME = b"sec-websocket-accept"

# ---- SHA-1 (FIPS 180-4) and base64


cdef inline uint32_t rotate(uint32_t value, int bits) noexcept nogil:
    return value << bits | value >> (32 - bits)


cdef void sha1_block(uint32_t* state, const uint8_t* block) noexcept nogil:
    cdef uint32_t[80] w
    cdef uint32_t a = state[0]
    cdef uint32_t b = state[1]
    cdef uint32_t c = state[2]
    cdef uint32_t d = state[3]
    cdef uint32_t e = state[4]
    cdef uint32_t mixed
    cdef int i
    for i in range(16):
        w[i] = <uint32_t>block[4 * i] << 24 | <uint32_t>block[4 * i + 1] << 16
        w[i] |= <uint32_t>block[4 * i + 2] << 8 | block[4 * i + 3]
    for i in range(16, 80):
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1)
    for i in range(80):
        if i < 20:
            mixed = (b & c | ~b & d) + <uint32_t>0x5A827999
        elif i < 40:
            mixed = (b ^ c ^ d) + <uint32_t>0x6ED9EBA1
        elif i < 60:
            mixed = (b & c | b & d | c & d) + <uint32_t>0x8F1BBCDC
        else:
            mixed = (b ^ c ^ d) + <uint32_t>0xCA62C1D6
        mixed += rotate(a, 5) + e + w[i]
        e = d
        d = c
        c = rotate(b, 30)
        b = a
        a = mixed
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e


cdef void sha1(const uint8_t* data, size_t length, uint8_t* out) noexcept nogil:
    """`length` is at most BLOCKS_MAX_BYTES - 9."""
    cdef uint32_t[5] state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    cdef uint8_t[BLOCKS_MAX_BYTES] blocks
    cdef size_t padded = (length + 9 + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES
    cdef size_t at
    memset(blocks, 0, sizeof(blocks))
    memcpy(blocks, data, length)
    blocks[length] = 0x80
    blocks[padded - 2] = <uint8_t>(length * 8 >> 8)
    blocks[padded - 1] = <uint8_t>(length * 8)
    for at in range(padded / BLOCK_BYTES):
        sha1_block(state, blocks + at * BLOCK_BYTES)
    for at in range(SHA1_BYTES):
        out[at] = <uint8_t>(state[at / 4] >> (24 - at % 4 * 8))


cdef void base64(const uint8_t* data, size_t length, char* out) noexcept nogil:
    cdef size_t at = 0
    cdef size_t written = 0
    cdef uint32_t word
    cdef int i
    while at < length:
        word = <uint32_t>data[at] << 16
        word |= <uint32_t>data[at + 1] << 8 if at + 1 < length else 0
        word |= data[at + 2] if at + 2 < length else 0
        for i in range(4):
            out[written + i] = BASE64[word >> (18 - 6 * i) & 63]
        if at + 2 >= length:
            out[written + 3] = c"="
        if at + 1 >= length:
            out[written + 2] = c"="
        at += 3
        written += 4


cdef void websocket_accept(const char* key, size_t length, char* out) noexcept nogil:
    cdef uint8_t[BLOCKS_MAX_BYTES] text
    cdef uint8_t[SHA1_BYTES] digest
    length = min(length, <size_t>KEY_MAX_BYTES)
    memcpy(text, key, length)
    memcpy(text + length, GUID, GUID_BYTES)
    sha1(text, length + GUID_BYTES, digest)
    base64(digest, SHA1_BYTES, out)


# ---- heads


cdef header_t* find(const head_t* head, const char* lowered, size_t length) noexcept nogil:
    """The first of this name, dropped or not."""
    cdef const char* name
    cdef size_t same
    cdef uint16_t i
    for i in range(head.count):
        if head.headers[i].name_len != length:
            continue
        name = head.text + head.headers[i].name_off
        same = 0
        while same < length and ascii_lower(name[same]) == lowered[same]:
            same += 1
        if same == length:
            return &head.headers[i]
    return NULL


cdef bint is_websocket(const head_t* request) noexcept nogil:
    cdef header_t* upgrade = headers_find(<head_t*>request, HEADER_UPGRADE)
    return (
        upgrade != NULL and upgrade.value_len == 9
        and ascii_equal(request.text + upgrade.value_off, b"websocket", 9)
    )


cdef int websocket_add_key(head_t* request, uint64_t* random) noexcept nogil:
    cdef header_t* known = find(request, KEY_NAME, 17)
    cdef uint64_t[2] nonce
    cdef char[WEBSOCKET_KEY_BYTES] key
    if not is_websocket(request):
        return 0
    if known != NULL:
        known.flags &= ~HEADER_DROPPED
        return 0
    nonce[0] = splitmix64(random)
    nonce[1] = splitmix64(random)
    base64(<uint8_t*>nonce, 16, key)
    return headers_append(request, HEADER_OTHER, KEY_NAME, 17, key, WEBSOCKET_KEY_BYTES)


cdef void websocket_hide_key(head_t* request) noexcept nogil:
    cdef header_t* known = find(request, KEY_NAME, 17)
    if known != NULL:
        known.flags |= HEADER_DROPPED


cdef bint websocket_accepts(const head_t* request, const head_t* answer) noexcept nogil:
    cdef char[WEBSOCKET_ACCEPT_BYTES] expected
    cdef header_t* key = find(request, KEY_NAME, 17)
    cdef header_t* accept = find(answer, ACCEPT_NAME, 20)
    if key == NULL or not is_websocket(request):
        return True
    websocket_accept(request.text + key.value_off, key.value_len, expected)
    return (
        accept != NULL and accept.value_len == WEBSOCKET_ACCEPT_BYTES
        and memcmp(answer.text + accept.value_off, expected, WEBSOCKET_ACCEPT_BYTES) == 0
    )


cdef int websocket_complete(const head_t* request, head_t* answer) noexcept nogil:
    cdef char[WEBSOCKET_ACCEPT_BYTES] accept
    cdef header_t* key = find(request, KEY_NAME, 17)
    cdef header_t* upgrade = headers_find(<head_t*>request, HEADER_UPGRADE)
    answer.status = 101
    if upgrade == NULL or headers_append(
        answer, HEADER_UPGRADE, b"upgrade", 7, request.text + upgrade.value_off, upgrade.value_len
    ) < 0:
        return -1
    if key == NULL:
        return 0
    websocket_accept(request.text + key.value_off, key.value_len, accept)
    return headers_append(answer, HEADER_OTHER, ACCEPT_NAME, 20, accept, WEBSOCKET_ACCEPT_BYTES)


cdef void websocket_drop_accept(head_t* answer) noexcept nogil:
    cdef header_t* accept = find(answer, ACCEPT_NAME, 20)
    if accept != NULL:
        accept.flags |= HEADER_DROPPED


def accept(bytes key not None):
    cdef char[WEBSOCKET_ACCEPT_BYTES] out
    if len(key) > KEY_MAX_BYTES:
        raise ValueError("the key is too long")
    websocket_accept(key, len(key), out)
    return out[:WEBSOCKET_ACCEPT_BYTES]
