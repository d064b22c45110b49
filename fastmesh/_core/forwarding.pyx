"""Heads on their way through: what belongs to one connection goes, what tells of the way is added."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fastmesh._core.ascii cimport ASCII_REQUEST_ID, ascii_equal, ascii_lower, ascii_next_element, ascii_skip
from fastmesh._core.forwarded_for cimport forwarded_for_first
from fastmesh._core.headers cimport (
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    HEAD_UPGRADE,
    HEADER_CONNECTION,
    HEADER_CONTENT_LENGTH,
    HEADER_DROPPED,
    HEADER_EXPECT,
    HEADER_HOST,
    HEADER_HTTP2_SETTINGS,
    HEADER_KEEP_ALIVE,
    HEADER_OTHER,
    HEADER_PLAIN_NAME,
    HEADER_PROXY_AUTHENTICATE,
    HEADER_PROXY_AUTHORIZATION,
    HEADER_PROXY_CONNECTION,
    HEADER_TE,
    HEADER_TRAILER,
    HEADER_TRANSFER_ENCODING,
    HEADER_UPGRADE,
    HEADER_VIA,
    HEADER_X_FORWARDED_CLIENT_CERT,
    HEADER_X_FORWARDED_FOR,
    HEADER_X_FORWARDED_HOST,
    HEADER_X_FORWARDED_PROTO,
    HEADER_X_REQUEST_ID,
    METHOD_CONNECT,
    METHOD_HEAD,
    METHOD_OTHER,
    Head,
    head_copy,
    head_to_python,
    header_identify,
    header_identify_underscored,
    header_t,
    headers_append,
    headers_append_close,
    headers_append_extend,
    headers_append_open,
    headers_drop,
)

cdef enum:
    REQUEST_ID_MAX_BYTES = 128
    DECIMAL_MAX_BYTES = 20

cdef struct sweep_t:                    # the fields that later steps decide about; the last where there are several
    header_t* length
    header_t* coding
    header_t* proto
    header_t* host
    header_t* request_id
    uint16_t request_ids
    uint16_t forwarded_fors


# Sets of field ids, a bit each.
cdef enum:
    PROTECTED = (
        1 << HEADER_HOST
        | 1 << HEADER_CONTENT_LENGTH
        | 1 << HEADER_TRANSFER_ENCODING
        | 1 << HEADER_EXPECT
        | 1 << HEADER_UPGRADE
        | 1 << HEADER_X_FORWARDED_FOR
        | 1 << HEADER_X_FORWARDED_PROTO
        | 1 << HEADER_X_FORWARDED_HOST
        | 1 << HEADER_X_REQUEST_ID
        | 1 << HEADER_X_FORWARDED_CLIENT_CERT
    )
    HOP_BY_HOP = (
        1 << HEADER_CONNECTION
        | 1 << HEADER_KEEP_ALIVE
        | 1 << HEADER_TE
        | 1 << HEADER_PROXY_CONNECTION
        | 1 << HEADER_PROXY_AUTHENTICATE
        | 1 << HEADER_PROXY_AUTHORIZATION
        | 1 << HEADER_HTTP2_SETTINGS
        | 1 << HEADER_X_FORWARDED_CLIENT_CERT   # what comes is not ours to believe
    )
    SWEPT = (PROTECTED | HOP_BY_HOP) & ~(1 << HEADER_HOST | 1 << HEADER_EXPECT)


cdef inline bint is_in(uint32_t ids, uint8_t header_id) noexcept nogil:
    return ids >> header_id & 1


cdef void drop_named(head_t* head, const char* name, size_t length) noexcept nogil:
    cdef uint8_t header_id = header_identify(name, length)
    cdef header_t* header
    cdef const char* other
    cdef size_t same
    cdef uint16_t i
    if header_id != HEADER_OTHER:
        if not is_in(PROTECTED | HOP_BY_HOP, header_id):   # hop-by-hop ones go in any case
            headers_drop(head, header_id)
        return
    for i in range(head.count):
        header = &head.headers[i]
        if header.name_len != length:
            continue
        other = head.text + header.name_off
        same = 0
        while same < length and ascii_lower(other[same]) == ascii_lower(name[same]):
            same += 1
        if same == length:
            header.flags |= HEADER_DROPPED


cdef void drop_options(head_t* head, const header_t* connection) noexcept nogil:
    cdef const char* at = head.text + connection.value_off
    cdef const char* end = at + connection.value_len
    cdef const char* option
    cdef size_t length = 0
    if connection.value_len == 10 and ascii_equal(at, b"keep-alive", 10):
        return                          # names a hop-by-hop field only, as servers mostly do
    while True:
        option = ascii_next_element(&at, end, &length)
        if option == NULL:
            return
        if not (length == 5 and ascii_equal(option, b"close", 5)):
            drop_named(head, option, length)


cdef inline void keep_last(header_t** kept, header_t* header) noexcept nogil:
    if kept[0] != NULL:
        kept[0].flags |= HEADER_DROPPED
    kept[0] = header


# A name that reads as one of ours where "_" counts as "-".
cdef void drop_disguised(head_t* head, header_t* header) noexcept nogil:
    if is_in(PROTECTED, header_identify_underscored(head.text + header.name_off, header.name_len)):
        header.flags |= HEADER_DROPPED


# Drop what no proxy passes on, and note what is to be decided.
cdef void sweep(head_t* head, bint keep_upgrade, sweep_t* found) noexcept nogil:
    cdef header_t* header
    cdef uint8_t header_id
    cdef uint16_t i
    memset(found, 0, sizeof(sweep_t))
    for i in range(head.count):
        header = &head.headers[i]
        header_id = header.id
        if not is_in(SWEPT, header_id):
            if header_id == HEADER_OTHER and not header.flags & HEADER_PLAIN_NAME:
                drop_disguised(head, header)
            continue
        if header.flags & HEADER_DROPPED:
            continue
        if header_id == HEADER_CONTENT_LENGTH:
            keep_last(&found.length, header)
        elif header_id == HEADER_TRANSFER_ENCODING:
            keep_last(&found.coding, header)
        elif header_id == HEADER_X_FORWARDED_FOR:
            found.forwarded_fors += 1
        elif header_id == HEADER_X_FORWARDED_PROTO:
            keep_last(&found.proto, header)
        elif header_id == HEADER_X_FORWARDED_HOST:
            keep_last(&found.host, header)
        elif header_id == HEADER_X_REQUEST_ID:
            keep_last(&found.request_id, header)
            found.request_ids += 1
        elif is_in(HOP_BY_HOP, header_id) or (header_id == HEADER_UPGRADE and not keep_upgrade):
            if header_id == HEADER_CONNECTION:
                drop_options(head, header)
            header.flags |= HEADER_DROPPED


# --- framing

cdef inline void drop(header_t* header) noexcept nogil:
    if header != NULL:
        header.flags |= HEADER_DROPPED


cdef int append_length(head_t* head) noexcept nogil:
    cdef char digits[DECIMAL_MAX_BYTES]
    cdef char* at = digits + DECIMAL_MAX_BYTES
    cdef uint64_t rest = head.content_length
    while True:
        at -= 1
        at[0] = <char>(48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    return headers_append(
        head, HEADER_CONTENT_LENGTH, b"content-length", 14, at, digits + DECIMAL_MAX_BYTES - at
    )


# One field that tells the framing, or none for FRAMING_NONE and FRAMING_CLOSE.
cdef int set_framing(head_t* head, const sweep_t* found) noexcept nogil:
    if head.framing != FRAMING_LENGTH:
        drop(found.length)
    if head.framing != FRAMING_CHUNKED:
        drop(found.coding)
    if head.framing == FRAMING_LENGTH and found.length == NULL:
        return append_length(head)
    if head.framing == FRAMING_CHUNKED and found.coding == NULL:
        return headers_append(head, HEADER_TRANSFER_ENCODING, b"transfer-encoding", 17, b"chunked", 7)
    return 0


# --- the fields that tell of the way

cdef int merge_forwarded_for(head_t* head, const forwarding_t* forwarding) noexcept nogil:
    # What trusted proxies wrote, in one field, and the address that we see ourselves.
    cdef header_t* header
    cdef uint32_t length = 0
    cdef const char* first = forwarded_for_first(head, forwarding.trusted_hops, &length)
    cdef const char* value
    cdef const char* end
    cdef uint16_t i
    if headers_append_open(head, HEADER_X_FORWARDED_FOR, b"x-forwarded-for", 15) < 0:
        return -1
    for i in range(head.count):
        header = &head.headers[i]
        value = head.text + header.value_off
        end = value + header.value_len
        if header.id != HEADER_X_FORWARDED_FOR or header.flags & HEADER_DROPPED or first == NULL or end <= first:
            continue
        if value < first:
            value = first               # before it stands what a stranger wrote
        if value == end:
            continue
        if headers_append_extend(head, value, end - value) < 0:
            return -1
        if headers_append_extend(head, b", ", 2) < 0:
            return -1
    if headers_append_extend(head, forwarding.client, forwarding.client_len) < 0:
        return -1
    headers_drop(head, HEADER_X_FORWARDED_FOR)
    return headers_append_close(head)


cdef int append_forwarded(head_t* head, const forwarding_t* forwarding, const sweep_t* found) noexcept nogil:
    cdef bint trusted = forwarding.trusted_hops > 0
    if trusted and found.forwarded_fors:
        if merge_forwarded_for(head, forwarding) < 0:
            return -1
    else:
        if found.forwarded_fors:
            headers_drop(head, HEADER_X_FORWARDED_FOR)
        if headers_append(
            head, HEADER_X_FORWARDED_FOR, b"x-forwarded-for", 15, forwarding.client, forwarding.client_len
        ) < 0:
            return -1
    if not trusted or found.proto == NULL:
        drop(found.proto)
        if headers_append(
            head, HEADER_X_FORWARDED_PROTO, b"x-forwarded-proto", 17, forwarding.scheme, forwarding.scheme_len
        ) < 0:
            return -1
    if not trusted or found.host == NULL:
        drop(found.host)
        if head.authority_len:
            return headers_append(
                head, HEADER_X_FORWARDED_HOST, b"x-forwarded-host", 16,
                head.text + head.authority_off, head.authority_len,
            )
    return 0


cdef int append_request_id(head_t* head, const sweep_t* found, const char* request_id) noexcept nogil:
    cdef const char* value
    cdef const char* end
    if found.request_ids == 1 and 0 < found.request_id.value_len <= REQUEST_ID_MAX_BYTES:
        value = head.text + found.request_id.value_off
        end = value + found.request_id.value_len
        if ascii_skip(value, end, ASCII_REQUEST_ID) == end:
            return 0
    drop(found.request_id)
    return headers_append(head, HEADER_X_REQUEST_ID, b"x-request-id", 12, request_id, REQUEST_ID_BYTES)


cdef int append_via(head_t* head, const forwarding_t* forwarding) noexcept nogil:
    if forwarding.via == NULL:
        return 0
    if headers_append_open(head, HEADER_VIA, b"via", 3) < 0:
        return -1
    if headers_append_extend(head, b"1.1 " if head.version_minor else b"1.0 ", 4) < 0:
        return -1
    if headers_append_extend(head, forwarding.via, forwarding.via_len) < 0:
        return -1
    return headers_append_close(head)


cdef int forward_request(head_t* head, const forwarding_t* forwarding, const char* request_id) noexcept nogil:
    cdef sweep_t found
    sweep(head, (head.flags & HEAD_UPGRADE) != 0, &found)
    if set_framing(head, &found) < 0 or append_forwarded(head, forwarding, &found) < 0:
        return -1
    if append_request_id(head, &found, request_id) < 0 or append_via(head, forwarding) < 0:
        return -1
    if forwarding.certificate != NULL and headers_append(
        head, HEADER_X_FORWARDED_CLIENT_CERT, b"x-forwarded-client-cert", 23,
        forwarding.certificate, forwarding.certificate_len,
    ) < 0:
        return -1
    if head.flags & HEAD_UPGRADE:
        return headers_append(head, HEADER_CONNECTION, b"connection", 10, b"upgrade", 7)
    return 0


# --- responses

# How the body goes to the client, and the fields that tell it.
cdef int set_response_framing(
    head_t* head, const sweep_t* found, uint8_t method_id, uint8_t to_version_minor
) noexcept nogil:
    cdef bint successful_connect = method_id == METHOD_CONNECT and 200 <= head.status < 300
    if head.status < 200 or successful_connect:
        head.framing = FRAMING_NONE
        drop(found.length)
        drop(found.coding)
        return 0
    if method_id == METHOD_HEAD or head.status == 204 or head.status == 304:
        # Content-Length tells what GET would bring (RFC 9110 8.6).
        head.framing = FRAMING_NONE
        drop(found.coding)
        return 0
    if head.framing == FRAMING_NONE:
        if to_version_minor == 2:
            return set_framing(head, found)         # END_STREAM tells it
        head.framing = FRAMING_LENGTH
        head.content_length = 0
    elif to_version_minor == 0 and head.framing == FRAMING_CHUNKED:
        head.framing = FRAMING_CLOSE
        headers_drop(head, HEADER_TRAILER)
    elif to_version_minor and head.framing == FRAMING_CLOSE:
        head.framing = FRAMING_CHUNKED
    return set_framing(head, found)


cdef int forward_response(
    head_t* head, const forwarding_t* forwarding, uint8_t method_id, uint8_t to_version_minor, bint keep_alive
) noexcept nogil:
    cdef sweep_t found
    cdef bint switching = head.status == 101
    sweep(head, switching, &found)
    if set_response_framing(head, &found, method_id, to_version_minor) < 0 or append_via(head, forwarding) < 0:
        return -1
    if switching:
        return headers_append(head, HEADER_CONNECTION, b"connection", 10, b"upgrade", 7)
    if head.status < 200:
        return 0
    if not keep_alive or head.framing == FRAMING_CLOSE:
        return headers_append(head, HEADER_CONNECTION, b"connection", 10, b"close", 5)
    if to_version_minor == 0:
        return headers_append(head, HEADER_CONNECTION, b"connection", 10, b"keep-alive", 10)
    return 0


cdef size_t forward_request_room(const head_t* head) noexcept nogil:
    cdef size_t room = FORWARDING_ROOM_BYTES
    cdef uint16_t i
    for i in range(head.count):
        if head.headers[i].id == HEADER_X_FORWARDED_FOR:
            room += head.headers[i].value_len + 2
    return room


# --- the face to Python

cdef forwarding_t forwarding_of(bytes client, bytes scheme, int trusted_hops, bytes via) except *:
    cdef forwarding_t forwarding
    if max(len(client), len(scheme), len(via or b"")) > 255:
        raise ValueError("client, scheme and via are at most 255 bytes long")
    forwarding.client = client
    forwarding.client_len = <uint8_t>len(client)
    forwarding.scheme = scheme
    forwarding.scheme_len = <uint8_t>len(scheme)
    forwarding.trusted_hops = <uint8_t>trusted_hops
    forwarding.via = NULL
    forwarding.via_len = 0
    forwarding.certificate = NULL
    forwarding.certificate_len = 0
    if via is not None:
        forwarding.via = via
        forwarding.via_len = <uint8_t>len(via)
    return forwarding


def request(
    Head head not None,
    *,
    bytes client not None=b"192.0.2.1",
    bytes scheme not None=b"http",
    int trusted_hops=0,
    bytes via=None,
    bytes request_id not None=b"00000000-0000-4000-8000-000000000000",
):
    cdef forwarding_t forwarding = forwarding_of(client, scheme, trusted_hops, via)
    cdef Head copy = head_to_python(&head.head, forward_request_room(&head.head), FORWARDING_ROOM_FIELDS)
    if len(request_id) != REQUEST_ID_BYTES:
        raise ValueError("a request id is 36 bytes long")
    if forward_request(&copy.head, &forwarding, request_id) < 0:
        raise BufferError("no room for the forwarding fields")
    return copy


def response(
    Head head not None, str method not None="GET", *, int version_minor=1, bint keep_alive=True, bytes via=None
):
    cdef forwarding_t forwarding = forwarding_of(b"", b"", 0, via)
    cdef Head copy = head_to_python(&head.head, FORWARDING_ROOM_BYTES, FORWARDING_ROOM_FIELDS)
    cdef uint8_t method_id = {"HEAD": METHOD_HEAD, "CONNECT": METHOD_CONNECT}.get(method, METHOD_OTHER)
    if forward_response(&copy.head, &forwarding, method_id, version_minor, keep_alive) < 0:
        raise BufferError("no room for the forwarding fields")
    return copy


def rehearse_request(Head head not None, unsigned int times):
    cdef forwarding_t forwarding = forwarding_of(b"192.0.2.1", b"http", 0, None)
    cdef Head room = head_to_python(&head.head, forward_request_room(&head.head), FORWARDING_ROOM_FIELDS)
    cdef char* text = room.head.text
    cdef header_t* headers = room.head.headers
    cdef uint32_t text_cap = room.head.text_cap
    cdef uint16_t capacity = room.head.capacity
    cdef unsigned int _i
    with nogil:
        for _i in range(times):
            head_copy(&room.head, &head.head, text, text_cap, headers, capacity)
            forward_request(&room.head, &forwarding, b"00000000-0000-4000-8000-000000000000")
    return room
