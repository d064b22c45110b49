import json
from datetime import UTC, datetime

import pytest

from fastmesh._core.access_log import FIELDS, LINE_MAX_BYTES, AccessFormat

RECORD = {
    "time": 1_763_768_625_123_456,
    "client": "192.0.2.1:5000",
    "listener": "web",
    "method": "GET",
    "host": "hello.local:8080",
    "path": "/a/b",
    "query": "q=1",
    "protocol": "HTTP/1.0",
    "status": 503,
    "reason": "connect_failed",
    "detail": "ECONNREFUSED",
    "route": "hello",
    "service": "hello",
    "endpoint": "127.0.0.1:9001",
    "duration_us": 1234,
    "upstream_us": 567,
    "bytes_in": 0,
    "bytes_out": 2**64 - 1,
    "request_id": "0192-abcd",
    "user_agent": "curl/8",
    "retries": 1,
    "upstream_protocol": "HTTP/2",
    "tls": "TLSv1.3",
    "client_identity": "spiffe://mesh/a",
    "grpc_service": "shop.Orders",
    "grpc_method": "Get",
    "grpc_status": "UNAVAILABLE",
}
OPTIONAL = FIELDS[FIELDS.index("retries") + 1 :]
JSON = AccessFormat()


def test_json_line_holds_every_field_in_order():
    line = JSON.format(RECORD)
    assert line.endswith(b"}\n")
    parsed = json.loads(line)
    assert tuple(parsed) == FIELDS == tuple(RECORD)
    assert parsed == RECORD | {"time": "2025-11-21T23:43:45.123Z"}


def test_what_is_missing_is_empty():
    parsed = json.loads(JSON.format({}))
    assert tuple(parsed) == tuple(name for name in FIELDS if name not in OPTIONAL)
    assert parsed["time"] == "1970-01-01T00:00:00.000Z"
    assert parsed["method"] == parsed["protocol"] == parsed["path"] == parsed["user_agent"] == ""
    assert parsed["status"] == parsed["bytes_out"] == 0


@pytest.mark.parametrize(
    "moment",
    ["1999-12-31T23:59:59.999", "2000-02-29T00:00:00.001", "2024-12-31T12:34:56.789", "2100-03-01T00:00:00.000"],
)
def test_time(moment):
    unix_us = round(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1_000_000)
    assert AccessFormat("{time}").format({"time": unix_us}) == f"{moment}Z\n".encode()


def test_template():
    form = AccessFormat('{client} "{method} {path}" {status} {{{reason}}} {duration_us}us\té')
    expected = '192.0.2.1:5000 "GET /a/b" 503 {connect_failed} 1234us\té\n'
    assert form.format(RECORD) == expected.encode()


def test_template_without_fields_and_fields_alone():
    assert AccessFormat("plain").format(RECORD) == b"plain\n"
    for field in FIELDS:
        value = AccessFormat(f"{{{field}}}").format(RECORD)
        if field != "time":
            assert value == f"{RECORD[field]}\n".encode()


@pytest.mark.parametrize("length", range(24))
@pytest.mark.parametrize("byte", [*range(0x20), 0x22, 0x5C, 0x7F])
def test_json_escapes_wherever_they_stand(byte, length):
    text = "x" * length + chr(byte) + "y" * (23 - length)
    line = JSON.format({"method": "GET", "path": text})
    assert all(0x20 <= b < 0x7F for b in line[:-1])
    assert json.loads(line)["path"] == text


@pytest.mark.parametrize("byte", [*range(0x20), 0x22, 0x5C, 0x7F])
def test_template_escapes(byte):
    form = AccessFormat('"{user_agent}" {status}')
    line = form.format({"method": "GET", "user_agent": bytes((97, byte, 98)), "status": 200})
    assert line == f'"a\\x{byte:02x}b" 200\n'.encode()


VALID = ["é", "߿", "ࠀ", "€", "퟿", "", "�", "\U00010000", "\U0010ffff", "\xa0", "aé€😀b" * 5]


@pytest.mark.parametrize("text", VALID)
def test_valid_utf8_stays(text):
    record = {"method": "GET", "user_agent": text}
    assert json.loads(JSON.format(record))["user_agent"] == text
    assert AccessFormat("{user_agent}").format(record) == text.encode() + b"\n"


INVALID = [
    b"\x80",
    b"\xbf",
    b"\xc0\x80",  # overlong
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",  # surrogate
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xf5\x80\x80\x80",
    b"\xff",
    b"\xc3",  # cut short by the end of the value
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc2\x80",  # C1 controls: terminals obey them
    b"\xc2\x9b",
]


@pytest.mark.parametrize("sequence", INVALID)
def test_invalid_utf8_is_replaced_byte_by_byte(sequence):
    record = {"method": "GET", "user_agent": b"<" + sequence + b">", "host": "next"}
    assert json.loads(JSON.format(record))["user_agent"] == "<" + "\ufffd" * len(sequence) + ">"
    hexed = "".join(f"\\x{byte:02x}" for byte in sequence)
    assert AccessFormat("{user_agent}").format(record) == f"<{hexed}>\n".encode()
    at_end = {"method": "GET", "user_agent": sequence}
    assert json.loads(JSON.format(at_end))["user_agent"] == "\ufffd" * len(sequence)


@pytest.mark.parametrize("character", ["x", "\x01", "é", "😀", '"'])
@pytest.mark.parametrize("length", [500, 1500, 1800, 2000, 5000, 100_000])
def test_long_values_are_cut_and_the_line_stays_whole(character, length):
    texts = [name for name in FIELDS if isinstance(RECORD[name], str) and name != "protocol"]
    for long_ones in (texts[:1], ["path"], ["path", "query", "user_agent", "host"], texts):
        record = RECORD | dict.fromkeys(long_ones, character * length)
        line = JSON.format(record)
        assert len(line) <= LINE_MAX_BYTES
        parsed = json.loads(line)
        assert tuple(parsed) == FIELDS
        assert parsed["retries"] == 1
        for name in long_ones:
            kept = parsed[name].removesuffix("...")
            assert kept == character * len(kept)
            assert len(kept) == length or (parsed[name].endswith("...") and len(kept.encode()) >= 18)


def test_a_long_path_takes_the_room_that_others_leave():
    line = AccessFormat("{path} {status}").format({"method": "GET", "path": "/" * 10_000, "status": 200})
    assert len(line) > LINE_MAX_BYTES - 64
    assert line.endswith(b"/... 200\n")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{client} {methd}", r"unknown field \{methd\} at position 10; did you mean \{method\}\?"),
        ("{}", r"unknown field \{\} at position 1; known are time, client"),
        ("{ client }", r"unknown field \{ client \} at position 1; did you mean \{client\}"),
        ("abc {client", r'"\{" at position 4 has no "\}"'),
        ("abc } x", r'"\}" at position 4 has no "\{"'),
        ("a\nb", r"control character '\\n' at position 1"),
        ("a\x9bb", r"control character '\\x9b' at position 1"),
        ("{path}" * 40, "shorten it"),
        ("x" * 5000, "shorten it"),
    ],
)
def test_templates_that_are_refused(template, message):
    with pytest.raises(ValueError, match=message):
        AccessFormat(template)


def test_records_that_are_refused():
    with pytest.raises(KeyError):
        JSON.format({"pathh": "/"})
    with pytest.raises(OverflowError):
        JSON.format({"status": 2**16})
    with pytest.raises(TypeError):
        JSON.format({"client": 5})
