"""What a proxy must change in a head (RFC 9110 7.6): hop-by-hop fields out, forwarding fields in.

Works on head_t in place; `head.text` must have room behind it (FORWARDING_ROOM_BYTES, plus the length of
X-Forwarded-For as it came and of forwarding_t.certificate, and FORWARDING_ROOM_FIELDS in the table).
"""

from libc.stdint cimport uint8_t, uint16_t
from fastmesh._core.headers cimport head_t

cdef enum:
    FORWARDING_ROOM_BYTES = 896
    FORWARDING_ROOM_FIELDS = 12
    REQUEST_ID_BYTES = 36               # a UUID in text

cdef struct forwarding_t:               # constant for a listener and a client connection
    const char* client                  # client's address as text, without port
    uint8_t client_len
    const char* scheme                  # "http" or "https"
    uint8_t scheme_len
    uint8_t trusted_hops                # 0: what a stranger says of X-Forwarded-* is replaced
    const char* via                     # pseudonym, or NULL
    uint8_t via_len
    const char* certificate             # value of X-Forwarded-Client-Cert, or NULL: none is sent
    uint16_t certificate_len

# X-Forwarded-Client-Cert as it came is never believed.
# Drop hop-by-hop fields and those that Connection names; set X-Forwarded-For, -Proto, -Host by trusted_hops; keep a
# sane X-Request-Id or append `request_id` (REQUEST_ID_BYTES of text); Via if asked. An upgrade keeps "connection:
# upgrade" and Upgrade. Fields that tell the framing (Content-Length, Transfer-Encoding) are kept as the head's
# `framing` says: exactly one of them, or none. Returns 0, or -1 when there is no room.
# Connection cannot name away Host, framing, Expect or the forwarding fields; a field that only reads the same as one of
# ours where "_" counts as "-" (X_Forwarded_For) is dropped too. Of -Proto and -Host that are kept, the last one is.
cdef int forward_request(head_t* head, const forwarding_t* forwarding, const char* request_id) noexcept nogil
# The same for a response. `to_version_minor` is the client's, 2 for HTTP/2: for a 1.0 client a chunked body becomes
# close-delimited, and a close-delimited one stays; for 1.1 and 2 a close-delimited body becomes chunked (head.framing
# is changed and tells which). `keep_alive` false appends "connection: close" (true, for 1.0: "connection:
# keep-alive"). HEAD, 204, 304 keep the Content-Length that the endpoint sent.
cdef int forward_response(
    head_t* head, const forwarding_t* forwarding, uint8_t method_id, uint8_t to_version_minor, bint keep_alive
) noexcept nogil
# Bytes of text that forward_request may append besides forwarding_t.certificate; forward_response needs no more than
# FORWARDING_ROOM_BYTES.
cdef size_t forward_request_room(const head_t* head) noexcept nogil
