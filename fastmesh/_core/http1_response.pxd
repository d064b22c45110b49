"""Response heads towards HTTP/1 clients: what of them depends on the client's version and connection."""

from fastmesh._core.headers cimport head_t
from fastmesh._core.live cimport exchange_t

# A 1xx head, other than 101.
cdef void http1_send_informational(exchange_t* exchange, head_t* head) noexcept nogil
# A final head, or 101. Decides whether the connection lives on, and how the body is framed.
cdef void http1_send_response_head(exchange_t* exchange, head_t* head, bint is_end) noexcept nogil
