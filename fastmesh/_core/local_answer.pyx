"""Answers that the proxy makes itself: the reason as a header, and as JSON or plain text, as the client accepts."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strlen

from fastmesh._core.exchange_grpc cimport append_grpc_status
from fastmesh._core.forwarding cimport REQUEST_ID_BYTES
from fastmesh._core.headers cimport (
    FRAMING_LENGTH,
    FRAMING_NONE,
    HEAD_KEEP_ALIVE,
    HEADER_ACCEPT,
    HEADER_CONTENT_LENGTH,
    HEADER_CONTENT_TYPE,
    HEADER_OTHER,
    HEADER_X_REQUEST_ID,
    METHOD_HEAD,
    head_t,
    header_t,
    headers_append,
    headers_find,
)
from fastmesh._core.live cimport EXCHANGE_GRPC
from fastmesh._core.reason cimport REASON_OVERLOADED, REASON_POOL_EXHAUSTED, reason_name, reason_status, reason_text
from fastmesh._core.request_id cimport request_id_write

cdef enum:
    TEXT_MAX_BYTES = 1024
    FIELDS_MAX = 16
    BODY_MAX_BYTES = 512

cdef const char* TEXT_FORM = b"%d %s: %s\n"
cdef const char* JSON_FORM = b'{"status":%d,"reason":"%s","message":"%s"}\n'
cdef const char* TEXT_TYPE = b"text/plain; charset=utf-8"
cdef const char* JSON_TYPE = b"application/json"


cdef const char* phrase_of(int status) noexcept nogil:
    """The reason phrase (RFC 9110 15): for people who read heads; programs go by the number."""
    if status == 400:
        return b"Bad Request"
    if status == 404:
        return b"Not Found"
    if status == 408:
        return b"Request Timeout"
    if status == 413:
        return b"Content Too Large"
    if status == 414:
        return b"URI Too Long"
    if status == 429:
        return b"Too Many Requests"
    if status == 431:
        return b"Request Header Fields Too Large"
    if status == 501:
        return b"Not Implemented"
    if status == 502:
        return b"Bad Gateway"
    if status == 503:
        return b"Service Unavailable"
    if status == 504:
        return b"Gateway Timeout"
    if status == 505:
        return b"HTTP Version Not Supported"
    return b""


cdef void set_phrase(head_t* head) noexcept nogil:
    cdef const char* phrase = phrase_of(head.status)
    head.reason_off = head.text_len
    head.reason_len = <uint32_t>strlen(phrase)
    memcpy(head.text + head.text_len, phrase, head.reason_len)
    head.text_len += head.reason_len


cdef bint accepts_json(exchange_t* exchange) noexcept nogil:
    cdef const char* value
    cdef uint32_t i
    cdef header_t* accept
    if exchange.request.text == NULL:
        return False
    accept = headers_find(&exchange.request, HEADER_ACCEPT)
    if accept == NULL or accept.value_len < 4:
        return False
    value = exchange.request.text + accept.value_off
    for i in range(accept.value_len - 3):
        if value[i] == c"j" and value[i + 1] == c"s" and value[i + 2] == c"o" and value[i + 3] == c"n":
            return True
    return False


cdef void add(head_t* head, uint8_t header_id, const char* name, const char* value) noexcept nogil:
    headers_append(head, header_id, name, strlen(name), value, strlen(value))


cdef void add_request_id(exchange_t* exchange, head_t* head) noexcept nogil:
    """So that whoever complains can name the line in the log."""
    cdef char[REQUEST_ID_BYTES] request_id
    cdef header_t* found
    if exchange.request.text == NULL:
        return
    found = headers_find(&exchange.request, HEADER_X_REQUEST_ID)
    if found == NULL:                   # refused before the stage that gives it one
        request_id_write(&exchange.worker.random, request_id)
        headers_append(&exchange.request, HEADER_X_REQUEST_ID, b"x-request-id", 12, request_id, REQUEST_ID_BYTES)
        found = headers_find(&exchange.request, HEADER_X_REQUEST_ID)
    if found != NULL and found.value_len <= 128:
        headers_append(
            head, HEADER_X_REQUEST_ID, b"x-request-id", 12, exchange.request.text + found.value_off, found.value_len
        )


cdef int write_body(exchange_t* exchange, bint as_json, char* body) noexcept nogil:
    cdef const char* form = JSON_FORM if as_json else TEXT_FORM
    return snprintf(
        body, BODY_MAX_BYTES, form, <int>exchange.status, reason_name(exchange.reason), reason_text(exchange.reason)
    )


cdef void send_grpc_answer(exchange_t* exchange) noexcept nogil:
    """A head that stands for trailers too: the call's status, and the message that its client shows."""
    cdef char[TEXT_MAX_BYTES] text
    cdef header_t[FIELDS_MAX] fields
    cdef head_t head
    exchange.status = 200
    start_head(exchange, &head, text, fields)
    add(&head, HEADER_CONTENT_TYPE, b"content-type", b"application/grpc")
    append_grpc_status(exchange, &head)
    add(&head, HEADER_OTHER, b"x-fastmesh-reason", reason_name(exchange.reason))
    add_request_id(exchange, &head)
    exchange.downstream.server.head(exchange, &head, True)
    exchange.downstream.server.end(exchange, NULL)


cdef void start_head(exchange_t* exchange, head_t* head, char* text, header_t* fields) noexcept nogil:
    memset(head, 0, sizeof(head_t))
    head.text = text
    head.text_cap = TEXT_MAX_BYTES
    head.headers = fields
    head.capacity = FIELDS_MAX
    head.status = exchange.status
    head.version_minor = 1
    head.flags = HEAD_KEEP_ALIVE


cdef void send_local_answer(exchange_t* exchange) noexcept nogil:
    cdef char[TEXT_MAX_BYTES] text
    cdef header_t[FIELDS_MAX] fields
    cdef char[BODY_MAX_BYTES] body
    cdef char[24] number
    cdef head_t head
    cdef bint as_json = accepts_json(exchange)
    cdef int length
    if exchange.flags & EXCHANGE_GRPC:
        send_grpc_answer(exchange)
        return
    exchange.status = <uint16_t>reason_status(exchange.reason)
    length = write_body(exchange, as_json, body)
    start_head(exchange, &head, text, fields)
    set_phrase(&head)
    head.framing = FRAMING_LENGTH
    head.content_length = <uint64_t>length
    add(&head, HEADER_CONTENT_TYPE, b"content-type", JSON_TYPE if as_json else TEXT_TYPE)
    snprintf(number, sizeof(number), b"%d", length)
    add(&head, HEADER_CONTENT_LENGTH, b"content-length", number)
    add(&head, HEADER_OTHER, b"x-fastmesh-reason", reason_name(exchange.reason))
    if exchange.reason == REASON_OVERLOADED or exchange.reason == REASON_POOL_EXHAUSTED:
        exchange.retry_after_s = 1
    if exchange.retry_after_s:
        snprintf(number, sizeof(number), b"%u", exchange.retry_after_s)
        add(&head, HEADER_OTHER, b"retry-after", number)
    add_request_id(exchange, &head)
    if exchange.request.method_id == METHOD_HEAD:
        head.framing = FRAMING_NONE     # the Content-Length stays, the body does not (RFC 9110 9.3.2)
        length = 0
    exchange.downstream.server.head(exchange, &head, length == 0)
    if length:
        exchange.bytes_out += <uint64_t>length
        exchange.downstream.server.body(exchange, body, <size_t>length)
    exchange.downstream.server.end(exchange, NULL)
