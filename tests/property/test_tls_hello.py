"""ClientHellos against a slow twin, against OpenSSL, and cut into any records."""

import contextlib
import ssl

from hypothesis import given
from hypothesis import strategies as st

from fastmesh._core.tls_hello import read
from tests.oracle.first_bytes import read_hello
from tests.unit.core.hello_vectors import alpn, client_hello, extension, message, records, server_name

REAL = [
    client_hello(name, protocols, version)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    for name, protocols in [("example.com", ["h2", "http/1.1"]), ("a.b", None), (None, ["h2"])]
]
changes = st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3), st.integers(0, 3)), max_size=4)
names = st.one_of(
    st.from_regex(rb"\A[a-zA-Z0-9._:-]{0,20}\Z"),
    st.from_regex(rb"\A([a-c0-9]{1,3}\.){0,4}[A-C0-9]{0,3}\Z"),
    st.binary(),
)
pieces = st.one_of(
    names.map(server_name),
    st.lists(st.sampled_from([b"h2", b"http/1.1", b"", b"h3"]), max_size=4).map(lambda each: alpn(*each)),
    st.builds(extension, st.sampled_from([0, 10, 16, 43]), st.binary(max_size=12)),
)


def changed(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    for place, new, removed in edits:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + removed :]
    return data


def openssl_reads(data: bytes) -> list[str | None]:
    """The name that OpenSSL gives to a server, or nothing where it gives up before."""
    seen: list[str | None] = []
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.sni_callback = lambda _socket, name, _settings: seen.append(name)
    received = ssl.MemoryBIO()
    received.write(data)
    with contextlib.suppress(ssl.SSLError):
        settings.wrap_bio(received, ssl.MemoryBIO(), server_side=True).do_handshake()
    return seen


@given(st.sampled_from(REAL), changes)
def test_changed_hellos(data: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    data = changed(data, edits)
    assert read(data) == read_hello(data)


@given(st.lists(pieces, max_size=4), st.integers(1, 80), changes)
def test_made_hellos(extensions: list[bytes], size: int, edits: list[tuple[int, bytes, int]]) -> None:
    data = changed(records(message(b"".join(extensions)), size), edits)
    assert read(data) == read_hello(data)


@given(st.sampled_from(REAL), changes)
def test_openssl_sees_the_same_name(data: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    data = changed(data, edits)
    result, name, _ = read(data)
    for seen in openssl_reads(data):
        # We may refuse what OpenSSL takes, but never read another name.
        if result == 1:
            assert name == (seen or "").lower().removesuffix(".")


def test_openssl_does_read_the_name() -> None:
    assert [openssl_reads(data) for data in REAL[:3]] == [["example.com"], ["a.b"], [None]]


@given(st.sampled_from(REAL), st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_records_do_not_matter(data: bytes, sizes: list[int]) -> None:
    rest, split = data[5:], b""
    while rest:
        size = sizes[len(split) % len(sizes)]
        split, rest = split + records(rest[:size], size), rest[size:]
    assert read(split) == read(data)


@given(st.sampled_from(REAL), changes, st.integers(0, 3000))
def test_a_verdict_stands(data: bytes, edits: list[tuple[int, bytes, int]], cut: int) -> None:
    data = changed(data, edits)
    early = read(data[: cut % (len(data) + 1)])
    assert early[0] == 0 or early == read(data)
