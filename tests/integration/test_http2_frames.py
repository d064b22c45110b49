"""What RFC 9113 forbids, a frame sequence a row: the connection or the stream ends with the right code, or neither."""

import hpack
import pytest

from tests.engine import Client, EngineThread, proxied, reply, wait_until
from tests.http2_peers import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET_BLOCK,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    RawClient,
    block,
    connect,
    frame,
    get,
    settings,
    u32,
)


def slow(client: Client, number: int) -> None:
    """Answers /slow never, all else at once."""
    while True:
        head = client.until(b"\r\n\r\n")
        if b"/slow" not in head:
            client.send(reply(b"ok"))


@pytest.fixture(scope="module")
def engine():
    with proxied(slow, listener={"streams_max": 10}) as (engine, _):
        yield engine


OPEN = HEADERS, END_HEADERS
WHOLE = HEADERS, END_HEADERS | END_STREAM
SLOW = block(*get("/slow"))
POST = block(*get("/slow", method="POST"))
BAD_FIELD = block(*get("/", ("connection", "close")))


CONNECTION_ERRORS: dict[str, tuple[bytes, set[int]]] = {
    # 4.1, 4.2
    "a frame larger than allowed": (frame(DATA, 0, 1, bytes(16385)), {FRAME_SIZE_ERROR}),
    "large HEADERS": (frame(HEADERS, END_HEADERS, 1, bytes(16385)), {FRAME_SIZE_ERROR}),
    # 4.3
    "a broken header block": (frame(*WHOLE, 1, b"\xff\xff\xff\xff\xff\xff\xff"), {COMPRESSION_ERROR}),
    "an index beyond the table": (frame(*WHOLE, 1, b"\xfe"), {COMPRESSION_ERROR}),
    "a header block interrupted by another frame": (
        frame(HEADERS, END_STREAM, 1, GET_BLOCK[:3]) + frame(PING, 0, 0, bytes(8)),
        {PROTOCOL_ERROR},
    ),
    "a header block interrupted by another stream": (
        frame(HEADERS, END_STREAM, 1, GET_BLOCK[:3]) + frame(CONTINUATION, END_HEADERS, 3, GET_BLOCK[3:]),
        {PROTOCOL_ERROR},
    ),
    "an unknown frame within a header block": (
        frame(HEADERS, END_STREAM, 1, GET_BLOCK[:3]) + frame(0x42, 0, 0, b"x"),
        {PROTOCOL_ERROR},
    ),
    # 5.1
    "DATA on an idle stream": (frame(DATA, 0, 1, b"x"), {PROTOCOL_ERROR}),
    "RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 1, u32(CANCEL)), {PROTOCOL_ERROR}),
    "WINDOW_UPDATE on an idle stream": (frame(WINDOW_UPDATE, 0, 1, u32(1)), {PROTOCOL_ERROR}),
    "CONTINUATION on an idle stream": (frame(CONTINUATION, END_HEADERS, 1, GET_BLOCK), {PROTOCOL_ERROR}),
    # 5.1.1
    "an even stream": (frame(*WHOLE, 2, GET_BLOCK), {PROTOCOL_ERROR}),
    "a stream id that goes back": (
        frame(*OPEN, 5, SLOW) + frame(*WHOLE, 3, GET_BLOCK),
        {PROTOCOL_ERROR, STREAM_CLOSED},
    ),
    # 6.1
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), {PROTOCOL_ERROR}),
    "DATA with more padding than payload": (
        frame(*OPEN, 1, POST) + frame(DATA, PADDED, 1, b"\x05abcd"),
        {PROTOCOL_ERROR},
    ),
    "DATA without its padding length": (frame(*OPEN, 1, POST) + frame(DATA, PADDED, 1), {FRAME_SIZE_ERROR}),
    # 6.2
    "HEADERS on stream 0": (frame(*WHOLE, 0, GET_BLOCK), {PROTOCOL_ERROR}),
    "HEADERS with more padding than payload": (
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + GET_BLOCK),
        {PROTOCOL_ERROR},
    ),
    "HEADERS too short for their priority": (
        frame(HEADERS, END_HEADERS | PRIORITISED, 1, b"\0\0\0"),
        {FRAME_SIZE_ERROR},
    ),
    # 6.3 - 6.5
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), {PROTOCOL_ERROR}),
    "RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, u32(8)), {PROTOCOL_ERROR}),
    "RST_STREAM of another length": (frame(*OPEN, 1, POST) + frame(RST_STREAM, 0, 1, b"\0\0\0"), {FRAME_SIZE_ERROR}),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), {PROTOCOL_ERROR}),
    "SETTINGS of an odd length": (frame(SETTINGS, 0, 0, b"\0\0\0"), {FRAME_SIZE_ERROR}),
    "SETTINGS with ACK and payload": (frame(SETTINGS, ACK, 0, bytes(6)), {FRAME_SIZE_ERROR}),
    "SETTINGS_ENABLE_PUSH of 2": (settings((2, 2)), {PROTOCOL_ERROR}),
    "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1": (settings((4, 2**31)), {FLOW_CONTROL_ERROR}),
    "SETTINGS_MAX_FRAME_SIZE below 2^14": (settings((5, 16383)), {PROTOCOL_ERROR}),
    "SETTINGS_MAX_FRAME_SIZE above 2^24-1": (settings((5, 2**24)), {PROTOCOL_ERROR}),
    "SETTINGS_ENABLE_CONNECT_PROTOCOL of 2": (settings((8, 2)), {PROTOCOL_ERROR}),
    # 6.6 - 6.10
    "PUSH_PROMISE from a client": (
        frame(*OPEN, 1, POST) + frame(PUSH_PROMISE, 4, 1, u32(2) + GET_BLOCK),
        {PROTOCOL_ERROR},
    ),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "PING of another length": (frame(PING, 0, 0, bytes(6)), {FRAME_SIZE_ERROR}),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "GOAWAY that is too short": (frame(GOAWAY, 0, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "WINDOW_UPDATE of another length": (frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), {FRAME_SIZE_ERROR}),
    "WINDOW_UPDATE of 0 for the connection": (frame(WINDOW_UPDATE, 0, 0, u32(0)), {PROTOCOL_ERROR}),
    "the connection's window beyond 2^31-1": (
        frame(WINDOW_UPDATE, 0, 0, u32(2**31 - 1)) + frame(WINDOW_UPDATE, 0, 0, u32(2**31 - 1)),
        {FLOW_CONTROL_ERROR},
    ),
    "the initial window moves a stream's beyond 2^31-1": (
        frame(*OPEN, 1, POST) + frame(WINDOW_UPDATE, 0, 1, u32(2**31 - 65536)) + settings((4, 2**31 - 1)),
        {FLOW_CONTROL_ERROR},
    ),
    "CONTINUATION on stream 0": (frame(CONTINUATION, END_HEADERS, 0, GET_BLOCK), {PROTOCOL_ERROR}),
    "CONTINUATION behind END_HEADERS": (
        frame(*OPEN, 1, SLOW) + frame(CONTINUATION, END_HEADERS, 1, GET_BLOCK),
        {PROTOCOL_ERROR},
    ),
}

STREAM_ERRORS: dict[str, tuple[bytes, set[int]]] = {
    # 5.1
    "DATA on a half-closed stream": (frame(*WHOLE, 1, SLOW) + frame(DATA, 0, 1, b"x"), {STREAM_CLOSED}),
    "HEADERS on a half-closed stream": (frame(*WHOLE, 1, SLOW) + frame(*WHOLE, 1, GET_BLOCK), {STREAM_CLOSED}),
    "DATA on a stream that was reset": (
        frame(*OPEN, 1, POST) + frame(RST_STREAM, 0, 1, u32(CANCEL)) + frame(DATA, 0, 1, b"x"),
        {STREAM_CLOSED},
    ),
    # 5.3.1 of RFC 7540
    "HEADERS that depend on themselves": (
        frame(HEADERS, END_HEADERS | PRIORITISED, 1, u32(1) + b"\x10" + SLOW),
        {PROTOCOL_ERROR},
    ),
    "PRIORITY that depends on itself": (frame(PRIORITY, 0, 1, u32(1) + b"\x10"), {PROTOCOL_ERROR}),
    "PRIORITY of another length": (frame(PRIORITY, 0, 1, b"\0\0\0\0"), {FRAME_SIZE_ERROR}),
    # 6.9
    "WINDOW_UPDATE of 0": (frame(*OPEN, 1, POST) + frame(WINDOW_UPDATE, 0, 1, u32(0)), {PROTOCOL_ERROR}),
    "a window beyond 2^31-1": (
        frame(*OPEN, 1, POST) + frame(WINDOW_UPDATE, 0, 1, u32(2**31 - 1)) * 2,
        {FLOW_CONTROL_ERROR},
    ),
    "more DATA than the window": (
        frame(*OPEN, 1, block(*get("/", ("expect", "100-continue"), method="POST")))
        + frame(DATA, 0, 1, bytes(16384)) * 200,
        {FLOW_CONTROL_ERROR},
    ),
    # 8
    "trailers without END_STREAM": (frame(*OPEN, 1, POST) + frame(*OPEN, 1, block(("x", "y"))), {PROTOCOL_ERROR}),
    "pseudo-header fields in trailers": (
        frame(*OPEN, 1, POST) + frame(*WHOLE, 1, block((":path", "/"))),
        {PROTOCOL_ERROR},
    ),
    "more DATA than content-length": (
        frame(*OPEN, 1, block(*get("/slow", ("content-length", "1"), method="POST"))) + frame(DATA, 1, 1, b"xy"),
        {PROTOCOL_ERROR},
    ),
    "less DATA than content-length": (
        frame(*OPEN, 1, block(*get("/slow", ("content-length", "3"), method="POST"))) + frame(DATA, 1, 1, b"xy"),
        {PROTOCOL_ERROR},
    ),
    "content-length without DATA": (
        frame(*WHOLE, 1, block(*get("/", ("content-length", "1"), method="POST"))),
        {PROTOCOL_ERROR},
    ),
    "an upper-case name": (frame(*WHOLE, 1, block(*get("/", ("X-Upper", "1")))), {PROTOCOL_ERROR}),
    "connection: close": (frame(*WHOLE, 1, BAD_FIELD), {PROTOCOL_ERROR}),
    "transfer-encoding": (frame(*WHOLE, 1, block(*get("/", ("transfer-encoding", "chunked")))), {PROTOCOL_ERROR}),
    "te: gzip": (frame(*WHOLE, 1, block(*get("/", ("te", "gzip")))), {PROTOCOL_ERROR}),
    "CR LF in a value": (frame(*WHOLE, 1, block(*get("/", ("x", "a\r\ny: b")))), {PROTOCOL_ERROR}),
    "an unknown pseudo-header field": (frame(*WHOLE, 1, block((":test", "1"), *get())), {PROTOCOL_ERROR}),
    "a response's pseudo-header field": (frame(*WHOLE, 1, block((":status", "200"), *get())), {PROTOCOL_ERROR}),
    "a pseudo-header field behind others": (frame(*WHOLE, 1, block(("x", "y"), *get())), {PROTOCOL_ERROR}),
    "no :method": (frame(*WHOLE, 1, block(*get()[1:])), {PROTOCOL_ERROR}),
    "no :path": (frame(*WHOLE, 1, block(*get()[:3])), {PROTOCOL_ERROR}),
    "an empty :path": (frame(*WHOLE, 1, block(*get(""))), {PROTOCOL_ERROR}),
    "two :path": (frame(*WHOLE, 1, block((":path", "/"), *get())), {PROTOCOL_ERROR}),
    "a stream too many": (
        b"".join(frame(*WHOLE, 2 * i + 1, SLOW) for i in range(11)),
        {REFUSED_STREAM},
    ),
}

HARMLESS: dict[str, bytes] = {
    "an unknown frame": frame(0x42, 0xFF, 0, b"anything"),
    "an unknown setting": settings((0x4242, 1)),
    "unknown flags": frame(PING, 0xF6, 0, bytes(8)) + frame(*OPEN, 1, POST) + frame(DATA, 0xF6, 1, b"x"),
    "the reserved bit of a stream id": frame(PING, 0, 2**31, bytes(8)),
    "PRIORITY on any stream": frame(PRIORITY, 0, 7, bytes(5))
    + frame(*WHOLE, 9, SLOW)
    + frame(PRIORITY, 0, 1, bytes(5)),
    "PRIORITY on a half-closed stream": frame(*WHOLE, 1, SLOW) + frame(PRIORITY, 0, 1, bytes(5)),
    "WINDOW_UPDATE on a half-closed stream": frame(*WHOLE, 1, SLOW) + frame(WINDOW_UPDATE, 0, 1, u32(1)),
    "RST_STREAM on a half-closed stream": frame(*WHOLE, 1, SLOW) + frame(RST_STREAM, 0, 1, u32(CANCEL)),
    "RST_STREAM twice": frame(*WHOLE, 1, SLOW) + frame(RST_STREAM, 0, 1, u32(CANCEL)) * 2,
    "WINDOW_UPDATE on a stream that was reset": (
        frame(*WHOLE, 1, SLOW) + frame(RST_STREAM, 0, 1, u32(CANCEL)) + frame(WINDOW_UPDATE, 0, 1, u32(1))
    ),
    "padding": frame(*OPEN, 1, POST) + frame(DATA, PADDED, 1, b"\x04abcd\0\0\0\0"),
    "padding without data": frame(*OPEN, 1, POST) + frame(DATA, PADDED, 1, b"\x04\0\0\0\0"),
    "padded HEADERS with priority": frame(
        HEADERS, END_HEADERS | PADDED | PRIORITISED, 1, b"\x02" + u32(0) + b"\x10" + SLOW + b"\0\0"
    ),
    "skipped stream ids": frame(*WHOLE, 1001, SLOW),
    "a header block in many pieces": frame(HEADERS, END_STREAM, 1, b"")
    + b"".join(frame(CONTINUATION, 0, 1, SLOW[i : i + 1]) for i in range(len(SLOW)))
    + frame(CONTINUATION, END_HEADERS, 1, b""),
    "PING with ACK that nobody asked for": frame(PING, ACK, 0, bytes(8)),
    "SETTINGS with ACK that nobody asked for": frame(SETTINGS, ACK),
    "the smallest table": settings((1, 0)) + frame(*WHOLE, 1, GET_BLOCK),
    "the largest frames": settings((5, 2**24 - 1)),
    "an empty initial window": settings((4, 0)) + frame(*WHOLE, 1, GET_BLOCK),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_the_connection_ends(engine: EngineThread, name: str) -> None:
    sent, codes = CONNECTION_ERRORS[name]
    client = RawClient(engine.port)
    client.send(sent)
    kind, code = client.outcome()
    assert kind == "connection"
    assert code in codes
    assert client.until_kind(DATA) is None  # and nothing follows
    client.close()


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_the_stream_ends(engine: EngineThread, name: str) -> None:
    sent, codes = STREAM_ERRORS[name]
    client = RawClient(engine.port)
    client.send(sent)
    kind, code = client.outcome()
    assert kind == "stream"
    assert code in codes
    assert client.is_alive()
    client.close()


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_ends(engine: EngineThread, name: str) -> None:
    client = RawClient(engine.port)
    client.send(HARMLESS[name])
    assert client.is_alive()
    assert not [found for found in client.frames if found[0] in (GOAWAY, RST_STREAM)]
    client.close()


@pytest.mark.parametrize("opening", [b"GET / HTTP/2.0\r\n\r\n", PREFACE[:18] + b"XX\r\n\r\n" + settings()])
def test_another_preface_is_not_http2(engine: EngineThread, opening: bytes) -> None:
    client = engine.connect()
    client.send(opening)
    assert client.response().status == 505
    client.close()


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(*WHOLE, 1, GET_BLOCK), frame(SETTINGS, ACK)])
def test_settings_come_first(engine: EngineThread, first: bytes) -> None:
    client = RawClient(engine.port, PREFACE + first)
    assert client.outcome() == ("connection", PROTOCOL_ERROR)
    client.close()


def test_frames_may_come_in_any_pieces(engine: EngineThread) -> None:
    sent = (
        PREFACE
        + settings((4, 70000))
        + frame(HEADERS, END_STREAM, 1, GET_BLOCK[:5])
        + frame(CONTINUATION, END_HEADERS, 1, GET_BLOCK[5:])
        + frame(HEADERS, END_HEADERS, 3, block(*get("/", method="POST")))
        + frame(DATA, PADDED, 3, b"\x03body\0\0\0")
        + frame(DATA, END_STREAM, 3, b"end")
        + frame(PING, 0, 0, b"the end.")
    )
    for at in range(1, len(sent)):
        client = RawClient(engine.port, sent[:at])
        client.send(sent[at:])
        ended = set()
        while len(ended) < 2:
            found = client.take_frame()
            assert found is not None
            # The endpoint may answer before the body has come: RST_STREAM with NO_ERROR says so (RFC 9113 8.1).
            assert found[0] != GOAWAY and (found[0] != RST_STREAM or found[3] == u32(NO_ERROR))
            if found[0] in (DATA, HEADERS) and found[1] & END_STREAM:
                ended.add(found[2])
        client.close()


def test_malformed_requests_are_answered_too(engine: EngineThread) -> None:
    client = RawClient(engine.port)
    client.send(frame(*WHOLE, 1, BAD_FIELD))
    found = client.until_kind(HEADERS)
    assert found is not None
    assert dict(hpack.Decoder().decode(found[3]))[":status"] == "400"
    client.close()


def test_a_head_beyond_the_limits_is_431_and_the_table_stays_right(engine: EngineThread) -> None:
    client = connect(engine)
    assert client.fetch(get("/", *((f"x-{i}", "v" * 1000) for i in range(70)))).status == 431
    assert client.fetch(get("/", *((f"y-{i}", "v") for i in range(150)))).status == 431
    assert client.fetch(get("/" + "a" * 20000)).status == 414
    assert client.fetch(get("/", ("x-last", "v"))).status == 200
    client.close()


def test_heads_of_many_frames_pass_both_ways() -> None:
    value = "v" * 50_000

    def script(client: Client, number: int) -> None:
        head = client.until(b"\r\n\r\n")
        assert value.encode() in head
        client.send(reply(b"ok", b"X-Long: " + value.encode()))

    with proxied(script) as (engine, _):
        client = connect(engine)
        client.h2.update_settings({6: 100_000})
        client.h2.max_inbound_frame_size  # noqa: B018
        answer = client.fetch(get("/", ("x-long", value)))
        assert answer.headers["x-long"] == value
        client.close()


def test_goaway_of_the_client_lets_its_streams_end(engine: EngineThread) -> None:
    client = RawClient(engine.port)
    client.send(frame(*WHOLE, 1, GET_BLOCK) + frame(GOAWAY, 0, 0, u32(0) + u32(NO_ERROR)))
    found = client.until_kind(HEADERS)
    assert found is not None
    while client.take_frame() is not None:
        pass
    client.close()


def test_a_client_that_goes_away_takes_its_streams_with_it(engine: EngineThread) -> None:
    client = RawClient(engine.port)
    client.send(b"".join(frame(*WHOLE, 2 * i + 1, SLOW) for i in range(5)))
    wait_until(lambda: engine.live()["stream"] == 5)
    client.reset()
    wait_until(lambda: engine.live()["stream"] == 0 and engine.live()["exchange"] == 0)
