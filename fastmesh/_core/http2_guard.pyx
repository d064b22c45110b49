"""What an HTTP/2 peer may do how often before it is cut off."""

from libc.string cimport memset

from fastmesh._core.live cimport (
    HTTP2_ATTACK_CONTINUATION,
    HTTP2_ATTACK_CONTROL,
    HTTP2_ATTACK_EMPTY,
    HTTP2_ATTACK_HEAD,
    HTTP2_ATTACK_PING,
    HTTP2_ATTACK_PRIORITY,
    HTTP2_ATTACK_RESET,
    HTTP2_ATTACK_SETTINGS,
    HTTP2_ATTACK_STALL,
    HTTP2_ATTACK_STREAMS,
    HTTP2_ATTACK_UNKNOWN,
    HTTP2_ATTACK_WINDOW,
    HTTP2_ATTACKS,
)

cdef enum:
    COUNT_MS = 1000
    WINDOWS_PER_DATA = 10               # WINDOW_UPDATE frames that a DATA frame of ours may bring

cdef struct kind_t:
    const char* name
    unsigned short most                 # in COUNT_MS; 0: what this is counted for needs no number

cdef kind_t KINDS[HTTP2_ATTACKS]
KINDS[HTTP2_ATTACK_RESET] = kind_t(b"rapid_reset", 100)
KINDS[HTTP2_ATTACK_CONTINUATION] = kind_t(b"continuation", 0)
KINDS[HTTP2_ATTACK_SETTINGS] = kind_t(b"settings", 50)
KINDS[HTTP2_ATTACK_PING] = kind_t(b"ping", 500)
KINDS[HTTP2_ATTACK_EMPTY] = kind_t(b"empty_frames", 100)
KINDS[HTTP2_ATTACK_WINDOW] = kind_t(b"window_update", 1000)
KINDS[HTTP2_ATTACK_PRIORITY] = kind_t(b"priority", 500)
KINDS[HTTP2_ATTACK_HEAD] = kind_t(b"header_bomb", 20)
KINDS[HTTP2_ATTACK_STREAMS] = kind_t(b"streams", 500)
KINDS[HTTP2_ATTACK_CONTROL] = kind_t(b"unread_answers", 0)
KINDS[HTTP2_ATTACK_STALL] = kind_t(b"stalled_windows", 0)
KINDS[HTTP2_ATTACK_UNKNOWN] = kind_t(b"unknown_frames", 500)


cdef bint http2_guard_count(http2_t* http2, uint8_t attack) noexcept nogil:
    if http2.connection.worker.now_ms - http2.counted_since_ms >= COUNT_MS:
        http2.counted_since_ms = http2.connection.worker.now_ms
        memset(http2.counts, 0, sizeof(http2.counts))
    http2.counts[attack] += 1
    return http2.counts[attack] > KINDS[attack].most


cdef inline void forgive(http2_t* http2, uint8_t attack, int times) noexcept nogil:
    http2.counts[attack] -= min(http2.counts[attack], times)


cdef void http2_guard_completed(http2_t* http2) noexcept nogil:
    forgive(http2, HTTP2_ATTACK_RESET, 1)


cdef void http2_guard_sent_data(http2_t* http2) noexcept nogil:
    forgive(http2, HTTP2_ATTACK_WINDOW, WINDOWS_PER_DATA)
    forgive(http2, HTTP2_ATTACK_PING, 1)


cdef void http2_guard_received_data(http2_t* http2) noexcept nogil:
    forgive(http2, HTTP2_ATTACK_PING, 1)
    forgive(http2, HTTP2_ATTACK_EMPTY, 1)


cdef void http2_guard_answered(http2_t* http2, uint32_t length) noexcept nogil:
    if http2.connection.output_bytes <= length:
        http2.control_bytes = 0         # all that was queued before has been taken
    http2.control_bytes += length


cdef const char* http2_guard_name(uint8_t attack) noexcept nogil:
    return KINDS[attack].name


ATTACKS = tuple([KINDS[i].name.decode() for i in range(HTTP2_ATTACKS)])
