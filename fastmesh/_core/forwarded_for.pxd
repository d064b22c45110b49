"""X-Forwarded-For as it came: whom of those it names to believe. Sans-IO.

Each proxy appends the address that it saw. So with n trusted proxies in front of us, the last n addresses were written
by them, the first of these is the client, and whatever stands before was written by a stranger.
"""

from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.headers cimport head_t

# The address that the first trusted proxy saw: the `hops`-th from the right over all fields, or the leftmost where
# there are fewer. NULL: there is none.
cdef const char* forwarded_for_first(const head_t* head, uint8_t hops, uint32_t* length) noexcept nogil
# Whether it looks like an address, perhaps with a port: hexadecimal digits, dots, colons, brackets, at most 55 bytes.
cdef bint forwarded_for_is_address(const char* text, uint32_t length) noexcept nogil
