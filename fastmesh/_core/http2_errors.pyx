"""How an HTTP/2 connection or a stream ends in an error."""

from fastmesh._core.hpack cimport HPACK_BAD, HPACK_NO_MEMORY
from fastmesh._core.http2_frames cimport HTTP2_COMPRESSION_ERROR, HTTP2_ENHANCE_YOUR_CALM, HTTP2_INTERNAL_ERROR
from fastmesh._core.http2_guard cimport http2_guard_count, http2_guard_name
from fastmesh._core.http2_output cimport http2_send_goaway, http2_send_reset, http2_stream_reset
from fastmesh._core.live cimport HTTP2_ATTACK_RESET, SESSION_IS_OVER, exchange_t

cdef enum:
    REMEMBERED_RESETS = 8


cdef void http2_fail(http2_t* http2, uint32_t code, const char* detail) noexcept nogil:
    if http2.flags & SESSION_IS_OVER:
        return
    http2_send_goaway(http2, http2.last_stream_id if http2.connection.is_downstream else 0, code, detail)
    http2.flags |= SESSION_IS_OVER
    http2.role.on_over(http2, detail)


cdef void http2_cut_off(http2_t* http2, uint8_t attack) noexcept nogil:
    if http2.flags & SESSION_IS_OVER:
        return
    http2.connection.worker.stats.http2_attacks[attack] += 1
    http2_fail(http2, HTTP2_ENHANCE_YOUR_CALM, http2_guard_name(attack))


cdef void http2_fail_stream(http2_stream_t* stream, uint32_t code, const char* detail) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef exchange_t* exchange = stream.exchange
    http2_stream_reset(stream, code)
    if exchange != NULL:
        http2.role.on_reset(http2, exchange, code, False, detail)
    # A peer that makes us reset its streams costs as much as one that resets them itself (CVE-2025-8671).
    if http2_guard_count(http2, HTTP2_ATTACK_RESET):
        http2_cut_off(http2, HTTP2_ATTACK_RESET)


cdef void http2_refuse_frame(http2_t* http2, uint32_t stream_id, uint32_t code) noexcept nogil:
    http2_send_reset(http2, stream_id, code)
    if http2_guard_count(http2, HTTP2_ATTACK_RESET):
        http2_cut_off(http2, HTTP2_ATTACK_RESET)


cdef bint http2_was_reset(const http2_t* http2, uint32_t stream_id) noexcept nogil:
    cdef uint32_t i
    for i in range(REMEMBERED_RESETS):
        if http2.reset_ids[i] == stream_id:
            return True
    # More were reset than we remember: it may be one of those.
    return http2.reset_ids[http2.reset_at] != 0


cdef bint http2_is_lost(http2_t* http2, int result) noexcept nogil:
    if result == HPACK_BAD:
        http2_fail(http2, HTTP2_COMPRESSION_ERROR, b"header block")
        return True
    if result == HPACK_NO_MEMORY:
        http2_fail(http2, HTTP2_INTERNAL_ERROR, b"no memory")
        return True
    return False
