"""What an access log line is made of: the fields, and the parts of a template. Runs when a configuration is loaded."""

FIELDS = (
    "time", "client", "listener", "method", "host", "path", "query", "protocol", "status", "reason", "detail", "route",
    "service", "endpoint", "duration_us", "upstream_us", "bytes_in", "bytes_out", "request_id", "user_agent", "retries",
    "upstream_protocol", "tls", "client_identity", "grpc_service", "grpc_method", "grpc_status",
)
# Of a JSON line they are part only where they say something; they come last.
OPTIONAL = frozenset(
    ("upstream_protocol", "tls", "client_identity", "grpc_service", "grpc_method", "grpc_status")
)
NUMBERS = frozenset(("status", "duration_us", "upstream_us", "bytes_in", "bytes_out", "retries"))
cdef str COMPLAINT = "access log template"


cdef list json_parts():
    parts = []
    opening = "{"
    closing = ""
    for name in FIELDS:
        if name in OPTIONAL:
            parts.append((f',"{name}":"', name))        # its closing quote is written with it
            continue
        quote = "" if name in NUMBERS else '"'
        parts.append((f'{closing}{opening}"{name}":{quote}', name))
        opening = ","
        closing = quote
    parts.append((f"{closing}}}\n", None))
    return parts


cdef list template_parts(str template):
    parts = []
    literal = ""
    place = 0
    while place < len(template):
        char = template[place]
        if char in "{}" and template[place:place + 2] == char * 2:
            literal += char
            place += 2
        elif char == "{":
            end = template.find("}", place)
            if end < 0:
                raise ValueError(f'{COMPLAINT}: "{{" at position {place} has no "}}" (write "{{{{" for a brace)')
            parts.append((literal, known_field(template[place + 1:end], place + 1)))
            literal = ""
            place = end + 1
        elif char == "}":
            raise ValueError(f'{COMPLAINT}: "}}" at position {place} has no "{{" (write "}}}}" for a brace)')
        elif (char < " " and char != "\t") or "\x7f" <= char <= "\x9f":
            raise ValueError(f"{COMPLAINT}: control character {char!r} at position {place}")
        else:
            literal += char
            place += 1
    parts.append((literal + "\n", None))
    return parts


cdef str known_field(str name, Py_ssize_t place):
    """`name`, if it is a field; raises ValueError."""
    cdef double best = 0.5
    if name in FIELDS:
        return name
    advice = f"known are {', '.join(FIELDS)}"
    for field in FIELDS:
        if likeness(name, field) > best:
            best = likeness(name, field)
            advice = f"did you mean {{{field}}}?"
    raise ValueError(f"{COMPLAINT}: unknown field {{{name}}} at position {place}; {advice}")


cdef double likeness(str one, str other) except -1.0:
    """The share of pairs of letters that two words have in common (Dice's coefficient)."""
    pairs = {one[place:place + 2] for place in range(len(one) - 1)}
    others = {other[place:place + 2] for place in range(len(other) - 1)}
    return 2.0 * len(pairs & others) / (len(pairs) + len(others))
