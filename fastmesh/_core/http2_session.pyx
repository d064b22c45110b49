"""One HTTP/2 connection of either side: frames in, and what they mean for its streams.

The phases of the input (http2_phase_t):

    IN_PREFACE -> AT_SETTINGS -> AT_FRAME
    AT_FRAME -> IN_DATA -> AT_FRAME                 bodies are delivered as they come, however long the frame
    AT_FRAME -> IN_BLOCK -> AT_FRAME                a header block in several frames

All other frames are looked at when they are whole.
"""

from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from fastmesh._core.buffers cimport buffer_data, buffer_give, buffer_take
from fastmesh._core.connection cimport (
    READ_NOTHING,
    connection_is_blocked,
    connection_keep,
    connection_read,
    connection_set_deadline,
    connection_wake,
)
from fastmesh._core.hpack cimport HPACK_BAD, HPACK_NO_MEMORY, hpack_decoder_free, hpack_decoder_init
from fastmesh._core.http2_bodies cimport (
    http2_body_begin,
    http2_body_piece,
    http2_body_resume,
    http2_credit_connection,
    http2_remote_end,
)
from fastmesh._core.http2_frames cimport (
    HTTP2_ACK,
    HTTP2_COMPRESSION_ERROR,
    HTTP2_CONTINUATION,
    HTTP2_DATA,
    HTTP2_END_HEADERS,
    HTTP2_END_STREAM,
    HTTP2_ENHANCE_YOUR_CALM,
    HTTP2_FLOW_CONTROL_ERROR,
    HTTP2_FRAME_HEAD_BYTES,
    HTTP2_GOAWAY,
    HTTP2_HEADERS,
    HTTP2_INTERNAL_ERROR,
    HTTP2_NO_ERROR,
    HTTP2_PING,
    HTTP2_PREFACE,
    HTTP2_PREFACE_BYTES,
    HTTP2_PRIORITISED,
    HTTP2_PRIORITY,
    HTTP2_PROTOCOL_ERROR,
    HTTP2_PUSH_PROMISE,
    HTTP2_RST_STREAM,
    HTTP2_SETTING_CONNECT,
    HTTP2_SETTING_PUSH,
    HTTP2_SETTING_STREAMS_MAX,
    HTTP2_SETTING_TABLE_SIZE,
    HTTP2_SETTING_WINDOW,
    HTTP2_SETTINGS,
    HTTP2_STREAM_CLOSED,
    HTTP2_STREAM_ERROR,
    HTTP2_WINDOW_BYTES,
    HTTP2_WINDOW_UPDATE,
    http2_check_frame,
    http2_check_setting,
    http2_frame_t,
    http2_read_frame,
    http2_read_u16,
    http2_read_u32,
    http2_strip,
)
from fastmesh._core.http2_guard cimport (
    HTTP2_BLOCK_FRAMES_MAX,
    HTTP2_BLOCK_MAX_BYTES,
    HTTP2_CONTROL_MAX_BYTES,
    http2_guard_count,
)
