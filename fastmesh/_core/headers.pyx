"""Known field names, and the operations on the field table of a head."""

import cython
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcpy, memset, strlen

from fastmesh._core.ascii cimport ascii_equal, ascii_lower, ascii_skip_ows, ascii_trim_ows
from fastmesh._core.hashing cimport load_u32, load_u64

cdef enum:
    NAME_COUNT = 25             # HEADER_X_FORWARDED_CLIENT_CERT + 1
    NAME_MAX_BYTES = 23

cdef const char* NAME[NAME_COUNT]
# The only id that a name of this length and first letter (its low five bits) can have.
cdef uint8_t CANDIDATE[NAME_MAX_BYTES + 1][32]
memset(CANDIDATE, HEADER_OTHER, sizeof(CANDIDATE))
NAME[0] = b""


cdef int know(uint8_t header_id, const char* name) except -1:
    cdef uint8_t* candidate = &CANDIDATE[strlen(name)][name[0] & 31]
    assert candidate[0] == HEADER_OTHER, name
    candidate[0] = header_id
    NAME[header_id] = name
    return 0


know(HEADER_HOST, b"host")
know(HEADER_CONNECTION, b"connection")
know(HEADER_CONTENT_LENGTH, b"content-length")
know(HEADER_TRANSFER_ENCODING, b"transfer-encoding")
know(HEADER_TE, b"te")
know(HEADER_TRAILER, b"trailer")
know(HEADER_UPGRADE, b"upgrade")
know(HEADER_EXPECT, b"expect")
know(HEADER_KEEP_ALIVE, b"keep-alive")
know(HEADER_PROXY_CONNECTION, b"proxy-connection")
know(HEADER_PROXY_AUTHENTICATE, b"proxy-authenticate")
know(HEADER_PROXY_AUTHORIZATION, b"proxy-authorization")
know(HEADER_X_FORWARDED_FOR, b"x-forwarded-for")
know(HEADER_X_FORWARDED_PROTO, b"x-forwarded-proto")
know(HEADER_X_FORWARDED_HOST, b"x-forwarded-host")
know(HEADER_X_REQUEST_ID, b"x-request-id")
know(HEADER_VIA, b"via")
know(HEADER_COOKIE, b"cookie")
know(HEADER_ACCEPT, b"accept")
know(HEADER_USER_AGENT, b"user-agent")
know(HEADER_CONTENT_TYPE, b"content-type")
know(HEADER_HTTP2_SETTINGS, b"http2-settings")
know(HEADER_MAX_FORWARDS, b"max-forwards")
know(HEADER_X_FORWARDED_CLIENT_CERT, b"x-forwarded-client-cert")


cdef inline bint is_same_name(const char* name, const char* known, size_t length) noexcept nogil:
    # Letters are lowered by setting one bit. No other byte of a token becomes a letter, digit or hyphen by that.
    cdef uint64_t lower = <uint64_t>0x2020202020202020
    cdef uint64_t difference
    if length >= 8:
        difference = (load_u64(name) | lower) ^ load_u64(known)
        difference |= (load_u64(name + length - 8) | lower) ^ load_u64(known + length - 8)
        if length > 16:
            difference |= (load_u64(name + 8) | lower) ^ load_u64(known + 8)
        return difference == 0
    if length >= 4:
        difference = (load_u32(name) | <uint32_t>lower) ^ load_u32(known)
        difference |= (load_u32(name + length - 4) | <uint32_t>lower) ^ load_u32(known + length - 4)
        return difference == 0
    return ascii_equal(name, known, length)


cdef uint8_t header_identify(const char* name, size_t length) noexcept nogil:
    cdef uint8_t candidate
    if length == 0 or length > NAME_MAX_BYTES:
        return HEADER_OTHER
    candidate = CANDIDATE[length][name[0] & 31]
    if candidate == HEADER_OTHER or not is_same_name(name, NAME[candidate], length):
        return HEADER_OTHER
    return candidate


cdef uint8_t header_identify_underscored(const char* name, size_t length) noexcept nogil:
    cdef uint8_t candidate
    cdef const char* known
    cdef size_t i
    if length == 0 or length > NAME_MAX_BYTES:
        return HEADER_OTHER
    candidate = CANDIDATE[length][name[0] & 31]
    if candidate == HEADER_OTHER:
        return HEADER_OTHER
    known = NAME[candidate]
    for i in range(length):
        if ascii_lower(name[i]) != known[i] and not (name[i] == 95 and known[i] == 45):
            return HEADER_OTHER
    return candidate


cdef header_t* headers_find(head_t* head, uint8_t header_id) noexcept nogil:
    cdef uint16_t i
    for i in range(head.count):
        if head.headers[i].id == header_id and not head.headers[i].flags & HEADER_DROPPED:
            return &head.headers[i]
    return NULL


cdef header_t* headers_find_name(head_t* head, const char* lowered, size_t length) noexcept nogil:
    cdef header_t* header
    cdef uint16_t i
    for i in range(head.count):
        header = &head.headers[i]
        if header.name_len != length or header.flags & HEADER_DROPPED:
            continue
        if ascii_equal(head.text + header.name_off, lowered, length):
            return header
    return NULL


cdef void headers_drop(head_t* head, uint8_t header_id) noexcept nogil:
    cdef uint16_t i
    for i in range(head.count):
        if head.headers[i].id == header_id:
            head.headers[i].flags |= HEADER_DROPPED


cdef int headers_append_open(head_t* head, uint8_t header_id, const char* name, size_t name_len) noexcept nogil:
    if headers_append(head, header_id, name, name_len, b"", 0) < 0:
        return -1
    # The field counts only once it is closed.
    head.count -= 1
    head.text_len -= <uint32_t>(name_len + 4)
    return 0


cdef int headers_append_extend(head_t* head, const char* piece, size_t length) noexcept nogil:
    cdef header_t* header = &head.headers[head.count]
    cdef size_t end = <size_t>header.value_off + header.value_len
    if length > head.text_cap or end + 2 > head.text_cap - length:
        return -1
    memcpy(head.text + end, piece, length)
    header.value_len += <uint32_t>length
    return 0


cdef int headers_append_close(head_t* head) noexcept nogil:
    cdef header_t* header = &head.headers[head.count]
    cdef uint32_t end = header.value_off + header.value_len
    memcpy(head.text + end, b"\r\n", 2)
    head.text_len = end + 2
    head.count += 1
    return 0


cdef int head_copy(
    head_t* target, const head_t* source, char* text, uint32_t text_cap, header_t* headers, uint16_t capacity
) noexcept nogil:
    if source.text_len > text_cap or source.count > capacity:
        return -1
    target[0] = source[0]
    target.text = text
    target.text_cap = text_cap
    target.headers = headers
    target.capacity = capacity
    memcpy(text, source.text, source.text_len)
    memcpy(headers, source.headers, source.count * sizeof(header_t))
    return 0


cdef const char* cookie_in(
    const char* at, const char* end, const char* name, size_t name_len, size_t* found_len
) noexcept nogil:
    cdef const char* stop
    cdef const char* equals
    cdef size_t i
    while at < end:
        at = ascii_skip_ows(at, end)
        stop = <const char*>memchr(at, 59, end - at)
        if stop == NULL:
            stop = end
        equals = <const char*>memchr(at, 61, stop - at)
        if equals != NULL and <size_t>(equals - at) == name_len:
            i = 0
            while i < name_len and at[i] == name[i]:
                i += 1
            if i == name_len:
                found_len[0] = ascii_trim_ows(equals + 1, stop) - (equals + 1)
                return equals + 1
        at = stop + 1
    return NULL


cdef const char* head_cookie(head_t* head, const char* name, size_t name_len, size_t* found_len) noexcept nogil:
    cdef header_t* header
    cdef const char* value
    cdef const char* found
    cdef uint16_t i
    for i in range(head.count):
        header = &head.headers[i]
        if header.id != HEADER_COOKIE or header.flags & HEADER_DROPPED:
            continue
        value = head.text + header.value_off
        found = cookie_in(value, value + header.value_len, name, name_len, found_len)
        if found != NULL:
            return found
    return NULL


NAMES = tuple([(<bytes>NAME[_id]).decode() for _id in range(NAME_COUNT)])
FRAMINGS = ("none", "length", "chunked", "close")
FLAGS = {
    HEAD_KEEP_ALIVE: "keep_alive",
    HEAD_EXPECT_CONTINUE: "expect_continue",
    HEAD_UPGRADE: "upgrade",
    HEAD_ABSOLUTE_FORM: "absolute_form",
    HEAD_ASTERISK_FORM: "asterisk_form",
}


def identify(bytes name not None):
    return NAMES[header_identify(name, len(name))]


@cython.final
cdef class Head:
    def __cinit__(self, unsigned int text_room=4096, unsigned short field_room=64):
        memset(&self.head, 0, sizeof(head_t))
        self.head.text = <char*>calloc(text_room + 1, 1)
        self.head.headers = <header_t*>calloc(field_room + 1, sizeof(header_t))
        self.head.text_cap = text_room
        self.head.capacity = field_room
        if self.head.text == NULL or self.head.headers == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.head.text)
        free(self.head.headers)

    cdef bytes slice(self, uint32_t offset, uint32_t length):
        return self.head.text[offset : offset + length]

    @property
    def method(self):
        return self.slice(self.head.method_off, self.head.method_len)

    @property
    def target(self):
        return self.slice(self.head.target_off, self.head.target_len)

    @property
    def authority(self):
        return self.slice(self.head.authority_off, self.head.authority_len)

    @property
    def path(self):
        return self.slice(self.head.path_off, self.head.path_len)

    @property
    def query(self):
        return self.slice(self.head.query_off, self.head.query_len)

    @property
    def reason(self):
        return self.slice(self.head.reason_off, self.head.reason_len)

    @property
    def status(self):
        return self.head.status

    @property
    def version_minor(self):
        return self.head.version_minor

    @property
    def framing(self):
        return FRAMINGS[self.head.framing]

    @property
    def content_length(self):
        return self.head.content_length

    @property
    def flags(self):
        return {name for bit, name in FLAGS.items() if self.head.flags & bit}

    @property
    def fields(self):
        cdef header_t* header
        cdef list fields = []
        for i in range(self.head.count):
            header = &self.head.headers[i]
            if not header.flags & HEADER_DROPPED:
                name = self.slice(header.name_off, header.name_len)
                fields.append((name, self.slice(header.value_off, header.value_len)))
        return fields

    def find(self, bytes name not None):
        lowered = name.lower()
        cdef uint8_t header_id = header_identify(lowered, len(lowered))
        cdef header_t* header
        if header_id != HEADER_OTHER:
            header = headers_find(&self.head, header_id)
        else:
            header = headers_find_name(&self.head, lowered, len(lowered))
        return None if header == NULL else self.slice(header.value_off, header.value_len)

    def append(self, bytes name not None, bytes value not None):
        cdef uint8_t header_id = header_identify(name, len(name))
        return headers_append(&self.head, header_id, name, len(name), value, len(value)) == 0

    def drop(self, bytes name not None):
        headers_drop(&self.head, header_identify(name, len(name)))

    def cookie(self, bytes name not None):
        cdef size_t length = 0
        cdef const char* value = head_cookie(&self.head, name, len(name), &length)
        return None if value == NULL else value[:length]

    def copy(self, unsigned int text_room, unsigned short field_room):
        return head_to_python(&self.head, text_room, field_room)


cdef Head head_to_python(const head_t* source, size_t text_room, uint16_t field_room):
    cdef Head copy = Head(source.text_len + text_room, source.count + field_room)
    head_copy(&copy.head, source, copy.head.text, copy.head.text_cap, copy.head.headers, copy.head.capacity)
    return copy
