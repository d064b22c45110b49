"""The typed words of the language: how each is written, read and described."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from fastmesh.config.addresses import (
    read_bound_address,
    read_endpoint_address,
    read_host,
    read_ip,
    read_network,
    read_server_name,
    read_sni,
)
from fastmesh.config.problem import InvalidText, did_you_mean
from fastmesh.config.quantities import (
    read_duration,
    read_percent,
    read_rate,
    read_share,
    read_size,
    write_duration,
    write_rate,
    write_size,
)
from fastmesh.config.words import (
    LABEL_MAX_CHARS,
    METHODS,
    NAME_PATTERN,
    TLS_VERSIONS,
    read_alpn,
    read_bool,
    read_directory,
    read_file_name,
    read_file_pattern,
    read_grpc_method,
    read_grpc_service,
    read_header_name,
    read_label,
    read_log_format,
    read_method,
    read_name,
    read_path,
    read_query_name,
    read_regex,
    read_service_record,
    read_spiffe_id,
    read_statuses,
    read_text,
    read_tls_version,
    read_token,
    write_statuses,
    write_tls_version,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Scalar:
    """How a value is written in YAML: `read` raises InvalidText; `json_schema` is what editors see."""

    name: str  # "a duration"
    expected: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    yaml: tuple[str, ...] = ("str",)  # the YAML types that it may have
    json_schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"}, hash=False)
    marked: bool = False  # its place is kept, for checks across resources
    refers: str = ""  # it is the name of a thing of this kind


def _pattern(pattern: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern} | more


def integer(least: int, most: int) -> Scalar:
    """A whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text.replace("_", ""), 10) if len(text) < 20 else most + 1
        except ValueError:
            raise InvalidText("written in decimal, without a leading 0") from None
        if not least <= value <= most or (text.lstrip("+-") != "0" and text.lstrip("+-").startswith("0")):
            raise InvalidText()
        return value

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Scalar("a number", f"a whole number from {least} to {most}", read, yaml=("int",), json_schema=schema)


def one_of(*words: str) -> Scalar:
    """One word of a few."""

    def read(text: str) -> str:
        if text not in words:
            raise InvalidText(did_you_mean(text, words))
        return text

    return Scalar(
        "a word that is known here",
        "one of " + ", ".join(words),
        read,
        json_schema={"type": "string", "enum": list(words)},
    )


_DECIMAL = r"^[0-9]+(\.[0-9]+)?"
Duration = Annotated[
    int,
    Scalar(
        "a duration",
        "a duration such as 250ms, 1.5s, 5m or 1h",
        read_duration,
        write_duration,
        json_schema=_pattern(_DECIMAL + "(ms|s|m|h)$", examples=["250ms", "5s"]),
    ),
]
"""Milliseconds."""
Size = Annotated[
    int,
    Scalar(
        "a size",
        "a size such as 64KiB, 1MiB or a number of bytes",
        read_size,
        write_size,
        ("str", "int"),
        {"anyOf": [_pattern(_DECIMAL + "(B|KiB|MiB|GiB)$", examples=["64KiB"]), {"type": "integer", "minimum": 0}]},
    ),
]
"""Bytes."""
Rate = Annotated[
    int,
    Scalar(
        "a rate",
        "a rate such as 100/s, 5000/m or 10/h",
        read_rate,
        write_rate,
        json_schema=_pattern("^[0-9]+/(s|m|h)$", examples=["100/s", "5000/m"]),
    ),
]
"""Nanoseconds between two tokens."""
Percent = Annotated[
    int,
    Scalar(
        "a percentage",
        "a whole percentage from 0% to 100%",
        read_percent,
        lambda value: f"{value}%",
        ("str", "int"),
        _pattern("^[0-9]{1,3}%$", examples=["50%"]),
    ),
]
"""Percent."""
Share = Annotated[
    int,
    Scalar(
        "a share",
        "a percentage from 0% to 100%, such as 10% or 0.1%",
        read_share,
        lambda value: f"{value / 10_000:g}%",
        ("str", "int"),
        _pattern(r"^[0-9]{1,3}(\.[0-9]{1,4})?%$", examples=["100%", "0.1%"]),
    ),
]
"""Parts in a million."""
Name = Annotated[
    str,
    Scalar(
        "a name",
        "letters, digits, '_', '-' and '.', at most 100 characters",
        read_name,
        json_schema=_pattern(f"^{NAME_PATTERN}$"),
    ),
]
ListenerName = Annotated[str, Scalar("the name of a listener", "the name of a listener", read_name, refers="listeners")]
ServiceName = Annotated[str, Scalar("the name of a service", "the name of a service", read_name, refers="services")]
BoundAddress = Annotated[
    str,
    Scalar(
        "an address to listen on",
        "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080",
        read_bound_address,
        marked=True,
        json_schema={"type": "string", "examples": ["127.0.0.1:8080", "[::1]:8080"]},
    ),
]
EndpointAddress = Annotated[
    str,
    Scalar(
        "an address",
        "an address and a port, such as 127.0.0.1:9001, [::1]:9001 or name.example:9001",
        read_endpoint_address,
        marked=True,
        json_schema={"type": "string", "examples": ["127.0.0.1:9001", "hello.internal:80"]},
    ),
]
ServiceRecord = Annotated[
    str,
    Scalar(
        "the name of an SRV record",
        "the name of an SRV record, such as _http._tcp.hello.example.org",
        read_service_record,
        json_schema=_pattern(r"^_[^.]+\._[^.]+\..", examples=["_http._tcp.hello.example.org"]),
    ),
]
FilePattern = Annotated[
    str,
    Scalar(
        "a pattern of files",
        "a path that ends in .json, .yaml or .yml, such as places/*.json",
        read_file_pattern,
        json_schema=_pattern(r"\.(json|yaml|yml)$", examples=["places/*.json"]),
    ),
]
Directory = Annotated[str, Scalar("a directory", "the path of a directory", read_directory)]
IpAddress = Annotated[str, Scalar("an IP address", "an IP address such as 127.0.0.1 or ::1", read_ip)]
Network = Annotated[
    str,
    Scalar(
        "a block of addresses",
        "a block of addresses such as 10.0.0.0/8 or fd00::/8, or an IP address",
        read_network,
        json_schema={"type": "string", "examples": ["10.0.0.0/8", "192.168.1.7"]},
    ),
]
Host = Annotated[
    str,
    Scalar(
        "a host",
        "a host name such as example.org or *.example.org",
        read_host,
        json_schema={"type": "string", "examples": ["example.org", "*.example.org"]},
    ),
]
ServerName = Annotated[str, Scalar("a server name", "a host name such as example.org", read_server_name)]
Sni = Annotated[
    str,
    Scalar(
        "a server name",
        "a host name such as example.org or *.example.org",
        read_sni,
        json_schema={"type": "string", "examples": ["db.example.org", "*.example.org"]},
    ),
]
HeaderName = Annotated[str, Scalar("a header name", "a header name: letters, digits and - are safe", read_header_name)]
CookieName = Annotated[str, Scalar("a cookie name", "a cookie name: letters, digits and - are safe", read_token)]
Token = Annotated[str, Scalar("a token", "letters, digits and - are safe", read_token)]
Method = Annotated[
    str,
    Scalar(
        "a method",
        "a method such as GET or POST",
        read_method,
        json_schema={"type": "string", "examples": list(METHODS)},
    ),
]
QueryName = Annotated[str, Scalar("a parameter name", "the name of a query parameter", read_query_name)]
Label = Annotated[str, Scalar("a label", f"1 to {LABEL_MAX_CHARS} characters, without , and =", read_label)]
Text = Annotated[str, Scalar("a text", "a text", read_text)]
UrlPath = Annotated[str, Scalar("a path", "a path that begins with /", read_path, json_schema=_pattern("^/"))]
Regex = Annotated[str, Scalar("a regular expression", "a regular expression of RE2 syntax", read_regex)]
FileName = Annotated[
    str, Scalar("a file", "the path of a PEM file, from the configuration directory", read_file_name, marked=True)
]
TlsVersion = Annotated[
    int,
    Scalar(
        "a TLS version",
        '"1.2" or "1.3"',
        read_tls_version,
        write_tls_version,
        ("str", "float"),
        {"enum": [*TLS_VERSIONS, *map(float, TLS_VERSIONS)]},
    ),
]
"""As it stands on the wire."""
Alpn = Annotated[
    str,
    Scalar(
        "a protocol of ALPN",
        "the name of a protocol, such as h2 or http/1.1",
        read_alpn,
        json_schema={"type": "string", "examples": ["h2", "http/1.1"]},
    ),
]
SpiffeId = Annotated[
    str,
    Scalar(
        "a SPIFFE id",
        "a SPIFFE id such as spiffe://mesh.local/hello",
        read_spiffe_id,
        json_schema=_pattern("^spiffe://", examples=["spiffe://mesh.local/hello"]),
    ),
]
GrpcService = Annotated[
    str, Scalar("a gRPC service", "the full name of a gRPC service, such as shop.Orders", read_grpc_service)
]
GrpcMethod = Annotated[str, Scalar("a gRPC method", "the name of a gRPC method, such as Get", read_grpc_method)]
LogFormat = Annotated[
    str, Scalar("a format", "json, or a template such as '{client} {method} {path} {status}'", read_log_format)
]
Statuses = Annotated[
    tuple[int, int],
    Scalar(
        "statuses",
        "a status or a range, such as 200 or 200-399",
        read_statuses,
        write_statuses,
        ("str", "int"),
        {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, _pattern("^[1-5][0-9]{2}-[1-5][0-9]{2}$")]},
    ),
]
Bool = Annotated[
    bool,
    Scalar(
        "true or false", "true or false", read_bool, lambda value: str(value).lower(), ("bool",), {"type": "boolean"}
    ),
]
