"""What an exchange knows of gRPC: the client's deadline, and the call's status."""

from fastmesh._core.headers cimport head_t
from fastmesh._core.live cimport exchange_t

# Whether the request is a call; then EXCHANGE_GRPC is set, and its deadline is noted.
cdef void recognise_grpc(exchange_t* exchange) noexcept nogil
# Write the time that is left as grpc-timeout into the request. False: no room.
cdef bint pass_on_deadline(exchange_t* exchange) noexcept nogil
# Note the status of a call from trailers, or from a head that stands for them.
cdef void note_grpc_status(exchange_t* exchange, head_t* head) noexcept nogil
# Make a head or trailers of the status of an answer of ours: grpc-status, grpc-message.
cdef void append_grpc_status(exchange_t* exchange, head_t* head) noexcept nogil
