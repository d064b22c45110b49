"""Random frame sequences against h2: where it is content, so are we, with the same requests; where it is not, neither
are we. Left out are a RST_STREAM of a stream that has not begun and a CONTINUATION on its own: h2 lets them pass, RFC
9113 does not (test_http2_frames has them)."""

import random
import struct
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from tests.engine import Client, proxied, reply
from tests.http2_peers import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawClient,
    block,
    frame,
    get,
    settings,
    u32,
)

SEQUENCES = 150
Seen = dict[str, bytes]


class Writer:
    """A client that mostly keeps to the rules."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.out = [PREFACE, settings((4, 100_000))]
        self.next_id = 1
        self.open: list[int] = []
        self.begun: list[int] = []
        self.seed = seed

    def head(self, stream_id: int, method: str) -> None:
        ends = method == "GET"
        payload = block(*get(f"/{self.seed}/{stream_id}", ("x-pad", "v" * self.random.randrange(50)), method=method))
        flags = END_STREAM if ends else 0
        before, behind = b"", b""
        if self.random.random() < 0.2:
            behind = bytes(self.random.randrange(20))
            before += bytes([len(behind)])
            flags |= PADDED
        if self.random.random() < 0.2:
            before += u32(0) + b"\x20"
            flags |= PRIORITISED
        pieces = [payload]
        if self.random.random() < 0.3:
            at = self.random.randrange(1, len(payload))
            pieces = [payload[:at], payload[at:]]
        self.out.append(
            frame(HEADERS, flags | (END_HEADERS if len(pieces) == 1 else 0), stream_id, before + pieces[0] + behind)
        )
        if len(pieces) == 2:
            self.out.append(frame(CONTINUATION, END_HEADERS, stream_id, pieces[1]))
        self.begun.append(stream_id)
        if not ends:
            self.open.append(stream_id)

    def data(self, stream_id: int, ends: bool) -> None:
        payload = self.random.randbytes(self.random.randrange(1, 300))
        flags = END_STREAM if ends else 0
        if self.random.random() < 0.2:
            padding = self.random.randrange(10)
            payload = bytes([padding]) + payload + bytes(padding)
            flags |= PADDED
        self.out.append(frame(DATA, flags, stream_id, payload))

    def trailers(self, stream_id: int) -> None:
        self.out.append(frame(HEADERS, END_STREAM | END_HEADERS, stream_id, block(("x-trailer", "t"))))

    def step(self) -> None:
        choice = self.random.random()
        if choice < 0.35 or not self.begun:
            self.head(self.next_id, self.random.choice(["GET", "POST"]))
            self.next_id += self.random.choice([2, 2, 2, 4])
        elif choice < 0.7 and self.open:
            stream_id = self.random.choice(self.open)
            ends = self.random.random()
            if ends < 0.15:
                self.trailers(stream_id)
            else:
                self.data(stream_id, ends < 0.5)
            if ends < 0.5:
                self.open.remove(stream_id)
        elif choice < 0.75 and self.open:
            stream_id = self.open.pop()
            self.out.append(frame(RST_STREAM, 0, stream_id, u32(CANCEL)))
        elif choice < 0.8:
            self.out.append(frame(WINDOW_UPDATE, 0, self.random.choice([0, *self.open]), u32(1000)))
        elif choice < 0.85:
            self.out.append(frame(PING, 0, 0, b"12345678"))
        elif choice < 0.9:
            self.out.append(settings((self.random.choice([1, 3, 4, 6, 99]), self.random.randrange(60_000, 90_000))))
        elif choice < 0.95:
            self.out.append(frame(PRIORITY, 0, self.random.choice([1, 99]), u32(0) + b"\x01"))
        else:
            self.out.append(frame(0x33, 0x7F, self.random.choice([0, 1]), b"unknown"))

    def break_a_rule(self) -> None:
        """One frame that may not be here, or not so."""
        some = self.random.choice(self.begun)
        self.out.append(
            self.random.choice(
                [
                    frame(DATA, 0, self.next_id + 10, b"idle"),
                    frame(DATA, 0, 0, b"zero"),
                    frame(DATA, PADDED, some, b"\xff"),
                    frame(HEADERS, END_HEADERS | END_STREAM, 2, block(*get())),
                    frame(HEADERS, END_HEADERS | END_STREAM, self.next_id, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
                    frame(HEADERS, END_HEADERS | END_STREAM, self.next_id, block(("x", "y"))),
                    frame(HEADERS, 0, self.next_id, block(*get())) + frame(PING, 0, 0, bytes(8)),
                    frame(RST_STREAM, 0, some, b"\0"),
                    frame(WINDOW_UPDATE, 0, 0, u32(0)),
                    frame(WINDOW_UPDATE, 0, 0, u32(2**31 - 1)),
                    frame(WINDOW_UPDATE, 0, self.next_id + 10, u32(1)),
                    frame(PING, 0, some, bytes(8)),
                    frame(PING, 0, 0, bytes(7)),
                    frame(SETTINGS, 0, 0, b"12345"),
                    frame(SETTINGS, 0, some, b""),
                    settings((2, 7)),
                    settings((4, 2**31)),
                    settings((5, 1)),
                    frame(GOAWAY, 0, some, bytes(8)),
                    frame(5, END_HEADERS, some, u32(2) + block(*get())),
                    frame(DATA, 0, some, bytes(16385)),
                ]
            )
        )


def written(seed: int) -> tuple[bytes, bool]:
    writer = Writer(seed)
    for _ in range(writer.random.randrange(3, 30)):
        writer.step()
    breaks = writer.random.random() < 0.5
    if breaks:
        writer.break_a_rule()
    return b"".join(writer.out), breaks


def as_h2_sees_it(data: bytes) -> tuple[Seen, bool]:
    """The requests that were whole, and whether the connection is in order at the end."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    whole: Seen = {}
    heads: dict[int, str] = {}
    bodies: dict[int, bytes] = {}
    try:
        for at in range(0, len(data), 997):
            for event in server.receive_data(data[at : at + 997]):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = dict(event.headers)[":path"]
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    whole[heads[event.stream_id]] = bodies[event.stream_id]
    except h2.exceptions.ProtocolError:
        return whole, False
    return whole, True


@pytest.fixture(scope="module")
def engine_and_seen():
    seen: Seen = {}
    lock = threading.Lock()

    def script(client: Client, number: int) -> None:
        while True:
            head = client.until(b"\r\n\r\n")
            body = client._chunked() if b"transfer-encoding: chunked" in head else b""
            with lock:
                seen[head.split(b" ")[1].decode()] = body
            client.send(reply(b"ok"))

    with proxied(script) as (engine, _):
        yield engine, seen


def as_we_see_it(port: int, data: bytes, pieces: random.Random, answers: int) -> tuple[set[int], int | None]:
    """The streams that we reset, and the code of a GOAWAY; so many answers are waited for."""
    client = RawClient(port, b"")
    at = 0
    try:
        while at < len(data):
            length = pieces.randrange(1, 2000)
            client.send(data[at : at + length])
            at += length
        client.send(frame(PING, 0, 0, b"the end."))
    except OSError:
        pass
    answered: set[int] = set()
    reset: set[int] = set()
    goaway: int | None = None
    was_read = False
    while not was_read or len(answered) < answers:
        found = client.take_frame()
        if found is None:
            break
        kind, flags, stream_id, payload = found
        if kind == GOAWAY:
            goaway = struct.unpack(">I", payload[4:8])[0]
            break
        if kind == RST_STREAM:
            reset.add(stream_id)
        elif kind in (DATA, HEADERS) and flags & END_STREAM:
            answered.add(stream_id)
        elif kind == PING and payload == b"the end.":
            was_read = True
    client.close()
    return reset, goaway


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_same_requests_and_same_verdict(engine_and_seen, seed: int) -> None:
    engine, seen = engine_and_seen
    data, breaks = written(seed)
    whole, is_content = as_h2_sees_it(data)
    reset, goaway = as_we_see_it(engine.port, data, random.Random(seed), len(whole) if is_content else 0)
    if is_content:
        assert goaway is None
        assert not reset or breaks
        for path, body in whole.items():
            assert seen.get(path) == body
    else:
        assert breaks
        assert goaway is not None or reset
