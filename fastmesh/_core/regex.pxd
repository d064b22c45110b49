"""Regular expressions in linear time (RE2). A pattern is a Python object that its owner keeps alive; see regex.pyx."""

# Whether the whole of the text matches. Takes the GIL: routes without a regular expression never come here.
cdef bint regex_fullmatch(void* pattern, const char* text, size_t length) noexcept nogil
