"""The parts of an access log line, [(literal, name of the field behind it or None)]: access_log makes steps of them."""

cdef frozenset NUMBERS                  # fields that are numbers

cdef list json_parts()
# Raises ValueError, which says what is wrong and where.
cdef list template_parts(str template)
