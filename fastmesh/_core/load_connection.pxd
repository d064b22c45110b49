"""One connection of the load generator: sends a request, reads the response, says how it ended. Knows no schedule."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.headers cimport head_t
from fastmesh._core.http1_chunked cimport chunked_t
from fastmesh._core.http1_parser cimport http1_limits_t
from fastmesh._core.sockets cimport sockaddr_storage, socklen_t

cdef enum:
    LOAD_HEAD_MAX_BYTES = 16384
    LOAD_HEADER_MAX_COUNT = 256
    LOAD_BODY_READ_BYTES = 262144

cdef enum load_state_t:
    LOAD_IDLE = 0           # no request; connected, or fd is -1
    LOAD_CONNECTING = 1
    LOAD_HEAD = 2           # the request is being sent or was sent, the response head is awaited
    LOAD_BODY = 3

cdef enum load_outcome_t:
    LOAD_CONNECT_FAILED = 0
    LOAD_RESET = 1          # closed or reset before the response ended
    LOAD_TIMEOUT = 2
    LOAD_MALFORMED = 3
    LOAD_FAILURE_KINDS = 4
    LOAD_COMPLETE = 5
    LOAD_PENDING = 6

cdef struct load_work_t:        # what all connections share; memory is owned by the generator
    sockaddr_storage address
    socklen_t address_bytes
    const char* request         # head and body
    size_t request_bytes
    char* scratch               # LOAD_BODY_READ_BYTES; bodies are read into it and forgotten
    head_t head                 # for one parse, with room for LOAD_HEADER_MAX_COUNT fields
    http1_limits_t limits
    uint64_t received_bytes
    int epoll
    int connect_errno           # of the last connection that failed
    uint8_t method_id
    uint8_t close_each          # a new connection for each request

cdef struct load_connection_t:
    int fd                      # owned; -1: not connected
    uint32_t index              # the key of its events
    uint8_t state               # load_state_t
    uint8_t framing             # framing_t of the response
    uint8_t keep                # the connection can carry another request
    uint8_t wants_write         # EPOLLOUT is asked for
    uint16_t status
    uint32_t head_bytes         # received so far
    size_t scanned
    size_t sent_bytes
    uint64_t remaining_bytes    # of a body with FRAMING_LENGTH
    uint64_t intended_ns        # the generator's: when the request was meant to start
    uint64_t deadline_ns        # the generator's
    chunked_t chunked
    char* head                  # LOAD_HEAD_MAX_BYTES, owned by the generator

# Send the request of an idle connection, connecting first where necessary. All return a load_outcome_t.
cdef int load_begin(load_connection_t* connection, load_work_t* work) noexcept nogil
cdef int load_handle(load_connection_t* connection, load_work_t* work, uint32_t events) noexcept nogil
# The request is over, as the outcome says: back to idle, closed unless the connection can be kept.
cdef void load_release(load_connection_t* connection, const load_work_t* work, int outcome) noexcept nogil
cdef void load_close(load_connection_t* connection) noexcept nogil
