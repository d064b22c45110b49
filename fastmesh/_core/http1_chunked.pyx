"""Decoder of the chunked transfer coding: a state machine over the framing bytes, block moves over the data."""

import cython
from libc.stdint cimport INT64_MAX
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from fastmesh._core.ascii cimport ASCII_HEX, ASCII_TOKEN, ascii_hex_value, ascii_is, ascii_is_ows
from fastmesh._core.http1_parser cimport HTTP1_BAD_CHUNK, HTTP1_BAD_TRAILER

from fastmesh._core.http1_parser import ERROR_NAMES as _ERROR_NAMES
from fastmesh._core.http1_parser import ParseError as _ParseError

cdef enum state_t:
    # "5;name=value" CR LF, data, CR LF, ... "0" CR LF, trailer lines, CR LF
    STATE_SIZE_START = 0        # the first digit
    STATE_SIZE = 1
    STATE_EXTENSION_START = 2   # behind ";", up to the first byte of the name
    STATE_EXTENSION = 3
    STATE_SIZE_LF = 4
    STATE_DATA = 5
    STATE_DATA_CR = 6
    STATE_DATA_LF = 7
    STATE_TRAILER_START = 8     # the first byte of the first trailer line, or the CR that ends it all
    STATE_END_LF = 9            # there is no trailer
    STATE_TRAILER = 10
    STATE_DONE = 11
    STATE_FAILED = 12


cdef void chunked_init(chunked_t* decoder) noexcept nogil:
    decoder.remaining = 0
    decoder.line_bytes = 0
    decoder.state = STATE_SIZE_START
    decoder.trailer_len = 0
    decoder.trailer = NULL


cdef void chunked_release(chunked_t* decoder) noexcept nogil:
    free(decoder.trailer)
    decoder.trailer = NULL
    decoder.trailer_len = 0


cdef inline uint8_t after_size(const chunked_t* decoder) noexcept nogil:
    return STATE_DATA if decoder.remaining else STATE_TRAILER_START


# The state after one byte of a size line, or STATE_FAILED.
cdef uint8_t step_size_line(chunked_t* decoder, char byte) noexcept nogil:
    decoder.line_bytes += 1
    if decoder.line_bytes > CHUNKED_LINE_MAX_BYTES:
        return STATE_FAILED
    if decoder.state <= STATE_SIZE:
        if ascii_is(byte, ASCII_HEX):
            if decoder.remaining > (<uint64_t>INT64_MAX >> 4):
                return STATE_FAILED
            decoder.remaining = (decoder.remaining << 4) | ascii_hex_value(byte)
            return STATE_SIZE
        if decoder.state == STATE_SIZE_START:
            return STATE_FAILED
        if byte == 13:
            return STATE_SIZE_LF
        return STATE_EXTENSION_START if byte == 59 else STATE_FAILED
    if decoder.state == STATE_EXTENSION_START:
        if ascii_is_ows(byte):
            return STATE_EXTENSION_START
        return STATE_EXTENSION if ascii_is(byte, ASCII_TOKEN) else STATE_FAILED
    if decoder.state == STATE_EXTENSION:
        if byte == 13:
            return STATE_SIZE_LF
        return STATE_FAILED if (<uint8_t>byte < 32 and byte != 9) or byte == 127 else STATE_EXTENSION
    return after_size(decoder) if byte == 10 else STATE_FAILED


# The state after one byte of the trailer section, or STATE_FAILED; the bytes are kept for http1_parse_trailers.
cdef uint8_t step_trailer(chunked_t* decoder, char byte) noexcept nogil:
    cdef char* text
    cdef uint32_t length
    if decoder.trailer == NULL:
        decoder.trailer = <char*>malloc(CHUNKED_TRAILER_MAX_BYTES)
        if decoder.trailer == NULL:
            return STATE_FAILED
    if decoder.trailer_len == CHUNKED_TRAILER_MAX_BYTES:
        return STATE_FAILED
    text = decoder.trailer
    length = decoder.trailer_len
    if byte == 0 or (byte == 10) != (length > 0 and text[length - 1] == 13):
        return STATE_FAILED
    text[length] = byte
    decoder.trailer_len = length + 1
    if byte == 10 and length >= 3 and text[length - 2] == 10:
        return STATE_DONE
    return STATE_TRAILER


# The state after one byte that is not data.
cdef uint8_t step(chunked_t* decoder, char byte) noexcept nogil:
    if decoder.state <= STATE_SIZE_LF:
        return step_size_line(decoder, byte)
    if decoder.state == STATE_DATA_CR:
        return STATE_DATA_LF if byte == 13 else STATE_FAILED
    if decoder.state == STATE_DATA_LF:
        decoder.line_bytes = 0
        return STATE_SIZE_START if byte == 10 else STATE_FAILED
    if decoder.state == STATE_TRAILER_START and byte == 13:
        return STATE_END_LF
    if decoder.state == STATE_END_LF:
        return STATE_DONE if byte == 10 else STATE_FAILED
    return step_trailer(decoder, byte)


cdef int chunked_decode(
    chunked_t* decoder, char* data, size_t length, size_t* consumed, size_t* data_off, size_t* data_len
) noexcept nogil:
    cdef size_t at = 0
    cdef size_t run
    cdef uint8_t state
    data_off[0] = 0
    data_len[0] = 0
    while at < length and decoder.state < STATE_DONE:
        if decoder.state == STATE_DATA:
            run = length - at
            if run > decoder.remaining:
                run = decoder.remaining
            if data_len[0] == 0:
                data_off[0] = at
            elif data_off[0] + data_len[0] != at:
                memmove(data + data_off[0] + data_len[0], data + at, run)
            data_len[0] += run
            decoder.remaining -= run
            at += run
            if decoder.remaining == 0:
                decoder.state = STATE_DATA_CR
            continue
        state = step(decoder, data[at])
        at += 1
        if state == STATE_FAILED:
            run = decoder.state
            decoder.state = STATE_FAILED
            consumed[0] = at
            return HTTP1_BAD_TRAILER if run >= STATE_TRAILER_START else HTTP1_BAD_CHUNK
        decoder.state = state
    consumed[0] = at
    if decoder.state == STATE_FAILED:
        return HTTP1_BAD_CHUNK
    return CHUNKED_DONE if decoder.state == STATE_DONE else CHUNKED_MORE


@cython.final
cdef class Decoder:
    cdef chunked_t decoder

    def __cinit__(self):
        chunked_init(&self.decoder)

    def __dealloc__(self):
        chunked_release(&self.decoder)

    def feed(self, bytes data not None):
        cdef size_t consumed = 0, data_off = 0, data_len = 0
        cdef size_t length = len(data)
        cdef char* copy = <char*>malloc(length + 1)
        if copy == NULL:
            raise MemoryError
        try:
            memcpy(copy, <const char*>data, length)
            result = chunked_decode(&self.decoder, copy, length, &consumed, &data_off, &data_len)
            if result < 0:
                raise _ParseError(_ERROR_NAMES[-result])
            return copy[data_off : data_off + data_len], result == CHUNKED_DONE, consumed
        finally:
            free(copy)

    @property
    def trailer(self):
        if self.decoder.trailer == NULL:
            return b""
        return self.decoder.trailer[: self.decoder.trailer_len]
