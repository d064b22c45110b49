"""Tests of a route on headers and query parameters: a test and a head in, yes or no out."""

from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.arena cimport arena_t
from fastmesh._core.headers cimport head_t

cdef enum:
    VALUE_MAX_BYTES = 8192      # of a joined header or a decoded parameter; a longer one equals nothing

cdef enum value_match_t:        # snapshot.ValueMatch
    VALUE_EXACT = 0
    VALUE_PREFIX = 1
    VALUE_REGEX = 2
    VALUE_PRESENT = 3
    VALUE_ABSENT = 4

cdef struct text_t:
    const char* data            # in the router's arena
    uint32_t length

cdef struct value_test_t:
    text_t name                 # of a header: in lower case
    text_t value
    void* pattern               # VALUE_REGEX: borrowed from Router.patterns
    uint8_t match               # value_match_t
    uint8_t part                # of an identity: IDENTITY_URI ...
    bint negated

# A field that stands several times counts as one, joined with ", " (RFC 9110 5.3). Dropped fields are not there.
cdef bint header_test_passes(const value_test_t* test, const head_t* head) noexcept nogil
# The first parameter of that name, decoded as application/x-www-form-urlencoded.
cdef bint query_test_passes(const value_test_t* test, const head_t* head) noexcept nogil
# A part of the sender's verified identity; without one, every part is absent.
cdef bint identity_test_passes(const value_test_t* test, const head_t* head) noexcept nogil
# Copy a Python str into the arena, as UTF-8.
cdef int text_copy(text_t* target, str source, arena_t* arena) except -1
# Compile snapshot.ValueTest; a regular expression is kept alive in `patterns`. Raises ValueError, MemoryError.
cdef int value_test_compile(value_test_t* test, object source, arena_t* arena, list patterns) except -1
# The same for a part of an identity, by its name.
cdef int identity_test_compile(value_test_t* test, object source, arena_t* arena, list patterns) except -1
