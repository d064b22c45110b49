"""What an exchange knows of gRPC (grpc's PROTOCOL-HTTP2.md): the client's deadline, and the call's status."""

from libc.stdint cimport int8_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport strlen

from fastmesh._core.grpc cimport (
    grpc_is_content_type,
    grpc_message_write,
    grpc_status_of_reason,
    grpc_status_parse,
    grpc_timeout_parse,
    grpc_timeout_write,
)
from fastmesh._core.headers cimport (
    HEADER_CONTENT_TYPE,
    HEADER_DROPPED,
    HEADER_OTHER,
    METHOD_POST,
    header_t,
    headers_append,
    headers_find,
    headers_find_name,
)
from fastmesh._core.live cimport EXCHANGE_GRPC, PROTOCOL_HTTP2
from fastmesh._core.reason cimport reason_name, reason_text

cdef enum:
    MESSAGE_MAX_BYTES = 256
    VALUE_BYTES = 40                    # short values: appending copies them in whole vectors


cdef void recognise_grpc(exchange_t* exchange) noexcept nogil:
    cdef header_t* found
    cdef uint64_t timeout_ns
    if exchange.request.method_id != METHOD_POST or exchange.downstream.protocol != PROTOCOL_HTTP2:
        return
    found = headers_find(&exchange.request, HEADER_CONTENT_TYPE)
    if found == NULL or not grpc_is_content_type(exchange.request.text + found.value_off, found.value_len):
        return
    exchange.flags |= EXCHANGE_GRPC
    found = headers_find_name(&exchange.request, b"grpc-timeout", 12)
    if found == NULL:
        return
    if grpc_timeout_parse(exchange.request.text + found.value_off, found.value_len, &timeout_ns) == 0:
        exchange.deadline_ns = exchange.begun_ns + timeout_ns


cdef bint pass_on_deadline(exchange_t* exchange) noexcept nogil:
    cdef char[VALUE_BYTES] text
    cdef uint64_t now_ns = exchange.worker.now_ns
    cdef uint64_t left_ns = exchange.deadline_ns - now_ns if exchange.deadline_ns > now_ns else 0
    cdef size_t length = grpc_timeout_write(left_ns, text)
    cdef header_t* found = headers_find_name(&exchange.request, b"grpc-timeout", 12)
    if found != NULL:
        found.flags |= HEADER_DROPPED
    return headers_append(&exchange.request, HEADER_OTHER, b"grpc-timeout", 12, text, length) == 0


cdef void note_grpc_status(exchange_t* exchange, head_t* head) noexcept nogil:
    cdef header_t* found = headers_find_name(head, b"grpc-status", 11)
    if found != NULL:
        exchange.grpc_status = <int8_t>grpc_status_parse(head.text + found.value_off, found.value_len)


cdef void append_grpc_status(exchange_t* exchange, head_t* head) noexcept nogil:
    cdef char[VALUE_BYTES] number
    cdef char[MESSAGE_MAX_BYTES] message
    cdef char[3 * MESSAGE_MAX_BYTES] encoded
    cdef int status = grpc_status_of_reason(exchange.reason)
    cdef int length
    exchange.grpc_status = <int8_t>status
    length = snprintf(number, sizeof(number), b"%d", status)
    headers_append(head, HEADER_OTHER, b"grpc-status", 11, number, <size_t>length)
    snprintf(message, sizeof(message), b"%s: %s", reason_name(exchange.reason), reason_text(exchange.reason))
    headers_append(
        head, HEADER_OTHER, b"grpc-message", 12, encoded, grpc_message_write(message, strlen(message), encoded)
    )
