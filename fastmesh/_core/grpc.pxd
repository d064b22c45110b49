"""What of gRPC shows on HTTP: deadlines, statuses, paths (grpc's PROTOCOL-HTTP2.md, http-grpc-status-mapping.md).

Sans-IO.
"""

from libc.stdint cimport uint8_t, uint64_t

cdef enum:                              # grpc_status_t
    GRPC_OK = 0
    GRPC_CANCELLED = 1
    GRPC_UNKNOWN = 2
    GRPC_INVALID_ARGUMENT = 3
    GRPC_DEADLINE_EXCEEDED = 4
    GRPC_NOT_FOUND = 5
    GRPC_ALREADY_EXISTS = 6
    GRPC_PERMISSION_DENIED = 7
    GRPC_RESOURCE_EXHAUSTED = 8
    GRPC_FAILED_PRECONDITION = 9
    GRPC_ABORTED = 10
    GRPC_OUT_OF_RANGE = 11
    GRPC_UNIMPLEMENTED = 12
    GRPC_INTERNAL = 13
    GRPC_UNAVAILABLE = 14
    GRPC_DATA_LOSS = 15
    GRPC_UNAUTHENTICATED = 16
    GRPC_STATUS_COUNT = 17

cdef enum:
    GRPC_TIMEOUT_MAX_BYTES = 9          # eight digits and a unit

# The path of a call, in two: both point into it.
cdef struct grpc_path_t:
    const char* service                 # with its package
    const char* method
    size_t service_len
    size_t method_len

# A grpc-timeout in nanoseconds. At most INT64_MAX, so that a time can be added to it; 0: the deadline has passed.
# Returns 0, or -1: not a timeout.
cdef int grpc_timeout_parse(const char* text, size_t length, uint64_t* ns) noexcept nogil
# Write a grpc-timeout in the finest unit that eight digits allow, rounded down; 0 is written as 1n, since the value
# must be positive. Returns the bytes written, at most GRPC_TIMEOUT_MAX_BYTES.
cdef size_t grpc_timeout_write(uint64_t ns, char* out) noexcept nogil

# The status that a client must read from an HTTP status that came without grpc-status.
cdef int grpc_status_of_http(int status) noexcept nogil
# The status of an answer of ours, by reason_t; GRPC_OK for REASON_NONE.
cdef int grpc_status_of_reason(uint8_t reason) noexcept nogil
# The value of grpc-status: grpc_status_t, or -1.
cdef int grpc_status_parse(const char* text, size_t length) noexcept nogil

# Most bytes that grpc_message_write writes for so many.
cdef inline size_t grpc_message_bound(size_t length) noexcept nogil:
    return 3 * length

# Write UTF-8 text as grpc-message: what is not printable ASCII, and "%", is percent-encoded. Returns the bytes written.
cdef size_t grpc_message_write(const char* text, size_t length, char* out) noexcept nogil

# Split "/package.Service/Method", at the last slash as servers do. False: not the path of a call.
cdef bint grpc_split_path(const char* path, size_t length, grpc_path_t* split) noexcept nogil
# Whether a content-type says gRPC: application/grpc, perhaps with "+format" or parameters; not gRPC-Web, which is
# HTTP of its own.
cdef bint grpc_is_content_type(const char* value, size_t length) noexcept nogil
