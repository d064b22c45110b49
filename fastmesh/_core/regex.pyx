"""Regular expressions in linear time, by google-re2: imported only when a route has one."""

from cpython.bytes cimport PyBytes_FromStringAndSize

# What one pattern may take for its automaton while it runs: RE2 falls back to a slower, still linear way beyond it.
MEMORY_MAX_BYTES = 1 << 20

_METACHARACTERS = frozenset("\\.[](){}*+?^$|")


cdef bint regex_fullmatch(void* pattern, const char* text, size_t length) noexcept nogil:
    with gil:
        try:
            return (<object>pattern)(PyBytes_FromStringAndSize(text, <Py_ssize_t>length)) is not None
        except Exception:
            # Nothing but a lack of memory can come here, and the request path has nobody to raise to.
            return False


def compile(pattern: str) -> object:
    import re2
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = MEMORY_MAX_BYTES
    try:
        return re2.compile(pattern, options).fullmatch
    except re2.error as error:
        message = error.args[0]
        raise ValueError(message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)) from None


def check(pattern: str) -> str | None:
    try:
        compile(pattern)
    except ValueError as error:
        return str(error)
    return None


def literal_prefix(pattern: str) -> str:
    if "|" in pattern or "(?" in pattern:
        return ""
    literal: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern) and not pattern[at + 1].isalnum() and pattern[at + 1].isascii():
            at += 1
            character = pattern[at]
        elif character in _METACHARACTERS:
            if character in "*?{" and literal:
                literal.pop()
            break
        literal.append(character)
        at += 1
    return "".join(literal)
