"""Request targets and authorities (RFC 9112 3.2, RFC 9110 4.2). Sans-IO."""

from fastmesh._core.headers cimport head_t

cdef enum:
    AUTHORITY_HOST_MAX_BYTES = 255

# uri-host [ ":" port ], not empty, no userinfo.
cdef bint http1_is_authority(const char* text, size_t length) noexcept nogil
# Sets path, query, target and the form flags by head.method_id; with absolute-form and CONNECT also the authority.
# The bytes are known to be of ASCII_TARGET. False: not a form that this method may have.
cdef bint http1_parse_target(head_t* head, const char* start, size_t length) noexcept nogil
