"""ClientHello: records are joined, then one pass over the message, every length checked against what is there."""

from libc.string cimport memcmp, memcpy, memset

from fastmesh._core.ascii cimport ASCII_DIGIT, ASCII_HEX, ascii_is, ascii_lower

cdef enum:
    RECORD_HEAD_BYTES = 5               # type, version, length
    RECORD_MAX_BYTES = 16384
    MESSAGE_HEAD_BYTES = 4              # type, length
    MESSAGE_CLIENT_HELLO = 1
    VERSION_MAJOR = 3                   # of SSL 3.0 and all of TLS
    VERSION_MINOR_MAX = 4
    RANDOM_BYTES = 32
    SESSION_ID_MAX_BYTES = 32
    EXTENSION_SERVER_NAME = 0
    EXTENSION_ALPN = 16
    NAME_TYPE_HOST = 0
    LABEL_MAX_BYTES = 63
    DNS_NAME_MAX_BYTES = 253            # as text (RFC 1035 3.1 counts 255 on the wire)

cdef enum:                              # extensions that were seen
    SEEN_SERVER_NAME = 1
    SEEN_ALPN = 2

# What is left of a message, or of a vector inside it.
cdef struct slice_t:
    const char* at
    const char* end


cdef inline size_t read_number(const char* at, int size) noexcept nogil:
    cdef size_t value = 0
    cdef int i
    for i in range(size):
        value = value << 8 | <uint8_t>at[i]
    return value


# Take a number of `size` bytes.
cdef bint take_number(slice_t* source, int size, size_t* value) noexcept nogil:
    if source.end - source.at < size:
        return False
    value[0] = read_number(source.at, size)
    source.at += size
    return True


# Take a vector: its length in `size` bytes, and so many bytes.
cdef bint take_vector(slice_t* source, int size, slice_t* vector) noexcept nogil:
    cdef size_t length = 0
    if not take_number(source, size, &length) or <size_t>(source.end - source.at) < length:
        return False
    vector.at = source.at
    vector.end = source.at + length
    source.at += length
    return True


# ---- the server name


cdef bint is_ipv6(const char* text, size_t length) noexcept nogil:
    cdef size_t i
    cdef int colons = 0
    for i in range(length):
        colons += text[i] == 58
        if not (ascii_is(text[i], ASCII_HEX) or text[i] == 58 or text[i] == 46):
            return False
    return colons >= 2


cdef bint is_label_byte(char byte) noexcept nogil:
    # Letters, digits, hyphen; the underscore is no hostname's, but names with it are in use.
    return ascii_is(byte, ASCII_DIGIT) or 97 <= ascii_lower(byte) <= 122 or byte == 45 or byte == 95


cdef bint is_dns_name(const char* text, size_t length, bint* is_numeric) noexcept nogil:
    # `is_numeric`: the last label has only digits, as in an IPv4 address and in no name (RFC 1123 2.1).
    cdef size_t i
    cdef int label = 0
    is_numeric[0] = True
    for i in range(length):
        if text[i] == 46:
            if label == 0:
                return False
            label = 0
            is_numeric[0] = True
            continue
        label += 1
        if label > LABEL_MAX_BYTES or not is_label_byte(text[i]):
            return False
        if not ascii_is(text[i], ASCII_DIGIT):
            is_numeric[0] = False
    return label > 0


cdef bint set_server_name(tls_hello_t* hello, const char* text, size_t length) noexcept nogil:
    cdef bint is_numeric = False
    cdef size_t i
    if is_ipv6(text, length):
        return True
    if length > 1 and text[length - 1] == 46:
        # RFC 6066 wants names without it; it is the same name.
        length -= 1
    if length > DNS_NAME_MAX_BYTES or not is_dns_name(text, length, &is_numeric):
        return False
    if is_numeric:
        return True
    for i in range(length):
        hello.server_name[i] = ascii_lower(text[i])
    hello.server_name_len = <uint8_t>length
    return True


cdef bint read_server_name(tls_hello_t* hello, slice_t extension) noexcept nogil:
    # One list, of one name: there is but one type, and no type may come twice.
    cdef slice_t names, name
    cdef size_t name_type = 0
    if not take_vector(&extension, 2, &names) or extension.at != extension.end:
        return False
    if not take_number(&names, 1, &name_type) or name_type != NAME_TYPE_HOST:
        return False
    if not take_vector(&names, 2, &name) or names.at != names.end or name.at == name.end:
        return False
    return set_server_name(hello, name.at, name.end - name.at)


# ---- the protocols


cdef uint8_t alpn_of(slice_t protocol) noexcept nogil:
    if protocol.end - protocol.at == 2 and memcmp(protocol.at, b"h2", 2) == 0:
        return TLS_ALPN_HTTP2
    if protocol.end - protocol.at == 8 and memcmp(protocol.at, b"http/1.1", 8) == 0:
        return TLS_ALPN_HTTP1
    return TLS_ALPN_OTHER


cdef bint read_alpn(tls_hello_t* hello, slice_t extension) noexcept nogil:
    cdef slice_t protocols, protocol
    if not take_vector(&extension, 2, &protocols) or extension.at != extension.end or protocols.at == protocols.end:
        return False
    while protocols.at < protocols.end:
        if not take_vector(&protocols, 1, &protocol) or protocol.at == protocol.end:
            return False
        hello.alpn |= alpn_of(protocol)
    return True


# ---- the message


cdef bint read_extensions(tls_hello_t* hello, slice_t extensions) noexcept nogil:
    cdef slice_t extension
    cdef size_t extension_type = 0
    cdef int seen = 0
    cdef int bit
    while extensions.at < extensions.end:
        if not take_number(&extensions, 2, &extension_type) or not take_vector(&extensions, 2, &extension):
            return False
        if extension_type != EXTENSION_SERVER_NAME and extension_type != EXTENSION_ALPN:
            continue
        # Given twice, another reader may take the other one.
        bit = SEEN_SERVER_NAME if extension_type == EXTENSION_SERVER_NAME else SEEN_ALPN
        if seen & bit:
            return False
        seen |= bit
        if bit == SEEN_SERVER_NAME:
            if not read_server_name(hello, extension):
                return False
        elif not read_alpn(hello, extension):
            return False
    return True


cdef bint read_message(tls_hello_t* hello, const char* start, const char* end) noexcept nogil:
    # Behind the message's head.
    cdef slice_t message, vector
    cdef size_t version = 0
    message.at = start
    message.end = end
    if not take_number(&message, 2, &version) or version >> 8 != VERSION_MAJOR:
        return False
    if message.end - message.at < RANDOM_BYTES:
        return False
    message.at += RANDOM_BYTES
    if not take_vector(&message, 1, &vector) or vector.end - vector.at > SESSION_ID_MAX_BYTES:
        return False
    # Cipher suites, two bytes each; compression methods.
    if not take_vector(&message, 2, &vector) or vector.at == vector.end or (vector.end - vector.at) & 1:
        return False
    if not take_vector(&message, 1, &vector) or vector.at == vector.end:
        return False
    if message.at == message.end:
        return True                     # before TLS 1.3, extensions may be missing altogether
    if not take_vector(&message, 2, &vector) or message.at != message.end:
        return False
    return read_extensions(hello, vector)


# ---- the records


# The bytes of the record's fragment, or TLS_HELLO_MORE, TLS_HELLO_NOT_TLS, TLS_HELLO_MALFORMED. A wrong byte in its
# head is told at once.
cdef int read_record(const char* at, size_t length) noexcept nogil:
    cdef size_t size
    if (length > 0 and not tls_looks_like(at[0])) or (length > 1 and at[1] != VERSION_MAJOR):
        return TLS_HELLO_NOT_TLS
    if length > 2 and <uint8_t>at[2] > VERSION_MINOR_MAX:
        return TLS_HELLO_NOT_TLS
    if length < RECORD_HEAD_BYTES:
        return TLS_HELLO_MORE
    size = read_number(at + 3, 2)
    return TLS_HELLO_MALFORMED if size == 0 or size > RECORD_MAX_BYTES else <int>size


# The whole message's length, once its head is there; else TLS_HELLO_MORE or TLS_HELLO_MALFORMED.
cdef int message_bytes(const char* message, size_t length) noexcept nogil:
    cdef size_t size
    if length > 0 and message[0] != MESSAGE_CLIENT_HELLO:
        return TLS_HELLO_MALFORMED
    if length < MESSAGE_HEAD_BYTES:
        return TLS_HELLO_MORE
    size = MESSAGE_HEAD_BYTES + read_number(message + 1, 3)
    return TLS_HELLO_MALFORMED if size > TLS_HELLO_MESSAGE_MAX_BYTES else <int>size


# Join the fragments of the message into `message`: its length, or TLS_HELLO_*, 0 and below.
cdef int join_records(const char* data, size_t length, char* message) noexcept nogil:
    cdef size_t at = 0
    cdef size_t joined = 0
    cdef size_t piece
    cdef int fragment, whole
    while at <= length:
        fragment = read_record(data + at, length - at)
        if fragment <= 0:
            # Something else between two fragments is no other protocol any more.
            return TLS_HELLO_MALFORMED if fragment < 0 and at > 0 else fragment
        at += RECORD_HEAD_BYTES
        piece = <size_t>fragment if <size_t>fragment < length - at else length - at
        if piece > TLS_HELLO_MESSAGE_MAX_BYTES - joined:
            piece = TLS_HELLO_MESSAGE_MAX_BYTES - joined
        memcpy(message + joined, data + at, piece)
        joined += piece
        whole = message_bytes(message, joined)
        if whole < 0 or (whole > 0 and joined >= <size_t>whole):
            return whole
        at += fragment
    return TLS_HELLO_MORE


cdef int tls_hello_read(const char* data, size_t length, tls_hello_t* hello) noexcept nogil:
    cdef char message[TLS_HELLO_MESSAGE_MAX_BYTES]
    cdef int whole
    memset(hello, 0, sizeof(tls_hello_t))
    whole = join_records(data, length if length < TLS_HELLO_MAX_BYTES else TLS_HELLO_MAX_BYTES, message)
    if whole == TLS_HELLO_MORE and length >= TLS_HELLO_MAX_BYTES:
        return TLS_HELLO_MALFORMED
    if whole <= 0:
        return whole
    if not read_message(hello, message + MESSAGE_HEAD_BYTES, message + whole):
        memset(hello, 0, sizeof(tls_hello_t))
        return TLS_HELLO_MALFORMED
    return TLS_HELLO_READ


# ---- the face for tests

NOT_TLS = TLS_HELLO_NOT_TLS
MALFORMED = TLS_HELLO_MALFORMED
MAX_BYTES = TLS_HELLO_MAX_BYTES
MESSAGE_MAX_BYTES = TLS_HELLO_MESSAGE_MAX_BYTES

_ALPN = ((TLS_ALPN_HTTP1, "http/1.1"), (TLS_ALPN_HTTP2, "h2"), (TLS_ALPN_OTHER, "other"))


def looks_like(uint8_t first):
    return tls_looks_like(<char>first)


def read(bytes data not None):
    cdef tls_hello_t hello
    cdef int result = tls_hello_read(data, len(data), &hello)
    alpn = {name for bit, name in _ALPN if hello.alpn & bit}
    return result, hello.server_name[:hello.server_name_len].decode(), alpn
