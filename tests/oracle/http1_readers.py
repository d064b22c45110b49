"""HTTP/1 messages as h11 and llhttp (httptools) read them."""

import contextlib
from dataclasses import dataclass, field

import h11
import httptools

# llhttp knows no other methods.
LLHTTP_METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND"
    b" UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK"
    b" UNLINK QUERY".split()
)
EVENT_MAX_BYTES = 1 << 20


@dataclass
class Reading:
    """What a parser made of the bytes; field names in lower case."""

    start: tuple[bytes, ...] = ()  # method and target, or status and reason
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False


def normalized(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Names in lower case, as h11 gives them; the name of a coding too."""
    lowered = ((name.lower(), value) for name, value in fields)
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in lowered]


def h11_request(data: bytes) -> Reading:
    """Raises h11.RemoteProtocolError."""
    return _drain(h11.Connection(h11.SERVER, max_incomplete_event_size=EVENT_MAX_BYTES), data)


def h11_response(data: bytes, method: bytes, closed: bool) -> Reading:
    """`closed`: the connection ends behind the data. Raises h11.RemoteProtocolError."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=EVENT_MAX_BYTES)
    # A 101 is only legal for a client that asked for it.
    asked = [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "websocket")]
    target = b"a:1" if method == b"CONNECT" else b"/"
    connection.send(h11.Request(method=method, target=target, headers=asked if method != b"CONNECT" else asked[:1]))
    connection.send(h11.EndOfMessage())
    reading = _drain(connection, data)
    if closed and not reading.ended:
        rest = _drain(connection, b"")
        reading.body += rest.body
        reading.ended = rest.ended
    return reading


def _drain(connection: h11.Connection, data: bytes) -> Reading:
    reading = Reading()
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            reading.start = (event.method, event.target)
            reading.fields = normalized(list(event.headers))
        elif isinstance(event, h11.Response | h11.InformationalResponse):
            reading.start = (b"%d" % event.status_code, bytes(event.reason))
            reading.fields = normalized(list(event.headers))
            if isinstance(event, h11.InformationalResponse):
                reading.ended = True
                return reading
        elif isinstance(event, h11.Data):
            reading.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            reading.trailers = normalized(list(event.headers))
            reading.ended = True
            return reading
        else:
            return reading


class _Collector:
    """Callbacks of httptools."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.url = b""
        self.reason = b""
        self.head_ended = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, status: bytes) -> None:
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        # None of httptools' callbacks tells trailers from fields but their place.
        (self.reading.trailers if self.head_ended else self.reading.fields).append((name, value))

    def on_headers_complete(self) -> None:
        self.head_ended = True

    def on_body(self, body: bytes) -> None:
        self.reading.body += body

    def on_message_complete(self) -> None:
        self.reading.ended = True


def _feed(parser: httptools.HttpRequestParser | httptools.HttpResponseParser, data: bytes) -> None:
    # Raised behind the head of an upgrade: all that there is was read.
    with contextlib.suppress(httptools.HttpParserUpgrade):
        parser.feed_data(data)


def llhttp_request(data: bytes) -> Reading:
    """Raises httptools.HttpParserError."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    _feed(parser, data)
    collector.reading.start = (parser.get_method(), collector.url)
    collector.reading.fields = normalized(collector.reading.fields)
    collector.reading.trailers = normalized(collector.reading.trailers)
    return collector.reading


def llhttp_response(data: bytes) -> Reading:
    """llhttp is not told of HEAD here, so its `ended` tells nothing for that. Raises httptools.HttpParserError."""
    collector = _Collector()
    parser = httptools.HttpResponseParser(collector)
    _feed(parser, data)
    collector.reading.start = (b"%d" % parser.get_status_code(), collector.reason)
    collector.reading.fields = normalized(collector.reading.fields)
    collector.reading.trailers = normalized(collector.reading.trailers)
    return collector.reading
