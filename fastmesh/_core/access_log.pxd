"""Access log lines: a record of one exchange in, one line of text out. Sans-IO, no allocation at request time.

JSON lines, or a template compiled once ("{client} {method} {path} {status}" ...). Strings from strangers are escaped:
no byte of theirs can end a line or forge a field. The names of the fields are the same in JSON and in templates.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.headers cimport head_t

cdef struct access_record_t:
    uint64_t started_unix_us
    uint64_t duration_us
    uint64_t upstream_us            # to the response head; 0: there was none
    uint64_t bytes_in
    uint64_t bytes_out
    head_t* request                 # NULL: none was understood
    const char* client              # "address:port"
    const char* listener            # names, zero-terminated, never NULL
    const char* route
    const char* service
    const char* endpoint
    const char* reason
    const char* protocol            # "HTTP/1.1", "HTTP/2", "TCP"
    const char* upstream_protocol
    const char* tls                 # its version, or ""
    const char* identity            # the client's, verified, or ""
    const char* grpc_status         # its name, or ""
    const char* grpc_service        # into the request's text, or NULL
    const char* grpc_method
    uint32_t grpc_service_len
    uint32_t grpc_method_len
    const char* detail              # what the reason came from (a parser's error, an errno), or ""
    uint16_t status
    uint8_t retries

cdef struct access_step_t:          # a literal and the field behind it
    const char* literal
    uint32_t literal_len
    uint32_t rest_bytes             # room that all behind this field needs at least
    int field                       # field_t in access_log.pyx
    bint is_optional                # left out, with its literal, where the field is empty

cdef struct access_format_t:
    access_step_t* steps            # owned by the AccessFormat
    uint32_t count
    bint json                       # else the escapes of a template

cdef class AccessFormat:
    cdef access_format_t* ptr       # owned
    cdef bytes literals             # what the steps point into

# The length written, or 0 when it does not fit. Long values are cut so that a line is at most ACCESS_LINE_MAX_BYTES;
# with that much room it always fits.
cdef enum:
    ACCESS_LINE_MAX_BYTES = 4096

cdef size_t access_format(
    const access_format_t* format, const access_record_t* record, char* out, size_t room
) noexcept nogil
