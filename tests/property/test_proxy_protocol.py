"""PROXY headers: what is written is read again, and anything is read as a slow twin reads it."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from fastmesh._core.proxy_protocol import NONE, read, write_v1, write_v2
from tests.oracle.first_bytes import UNSPECIFIED, address, read_proxy
from tests.property.test_tls_hello import changed, changes
from tests.unit.core.test_proxy_protocol import GOOD, SIGNATURE

ports = st.integers(0, 65535)
addresses = st.ip_addresses().map(str)


def claim(source: str, source_port: int, destination: str, destination_port: int) -> tuple[int, str, int, str, int]:
    """What a reader learns of such a connection."""
    versions = {ipaddress.ip_address(each).version for each in (source, destination)}
    if versions == {4}:
        return 4, source, source_port, destination, destination_port
    texts = [
        address(f"::ffff:{each}" if "." in each and ":" not in each else each, 6) for each in (source, destination)
    ]
    return 6, texts[0], source_port, texts[1], destination_port


@given(addresses, ports, addresses, ports)
def test_round_trip(source: str, source_port: int, destination: str, destination_port: int) -> None:
    for write in (write_v1, write_v2):
        data = write(source.encode(), source_port, destination.encode(), destination_port)
        assert read(data + b"G") == (len(data), *claim(source, source_port, destination, destination_port))


@given(st.sampled_from(GOOD), changes)
def test_changed_headers(good: tuple[bytes, object], edits: list[tuple[int, bytes, int]]) -> None:
    data = changed(good[0], edits)
    assert read(data) == read_proxy(data)


@given(st.sampled_from([b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21", b""]), st.binary())
def test_any_bytes(start: bytes, rest: bytes) -> None:
    assert read(start + rest) == read_proxy(start + rest)


@given(st.text("0123456789.", max_size=16), st.text("0123456789abcF:.", max_size=40), ports)
def test_addresses(ipv4: str, ipv6: str, port: int) -> None:
    for family, text in ((4, ipv4), (6, ipv6)):
        line = f"PROXY TCP{family} {text} {text} {port} 0\r\n".encode()
        assert read(line) == read_proxy(line)


@given(st.sampled_from(GOOD), changes, st.integers(0, 3000))
def test_a_verdict_stands(good: tuple[bytes, object], edits: list[tuple[int, bytes, int]], cut: int) -> None:
    data = changed(good[0], edits)
    early = read(data[: cut % (len(data) + 1)])
    assert early == (0, *UNSPECIFIED) or early == read(data)


@given(st.binary(min_size=1))
def test_what_begins_otherwise_is_none(data: bytes) -> None:
    if data[0] not in b"P\r":
        assert read(data) == (NONE, *UNSPECIFIED)
