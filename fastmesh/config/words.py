"""Names, labels, header names, methods, paths and patterns: texts of which not every one will do."""

from __future__ import annotations

import re

from fastmesh._core import regex
from fastmesh.config.problem import InvalidText, did_you_mean, quoted

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_NAME = re.compile(NAME_PATTERN)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE")
_GRPC_SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)*")
TLS_VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
LABEL_MAX_CHARS = 128
PATH_MAX_CHARS = 4096
VALUE_MAX_CHARS = 8192
FILE_SUFFIXES = (".json", ".yaml", ".yml")
_SERVICE_RECORD = re.compile(r"(_[a-z0-9-]{1,62}\.){2}[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")


def read_name(text: str) -> str:
    """The name of a listener, a service or a route: it stands in metrics, logs and URLs."""
    if _NAME.fullmatch(text) is None:
        raise InvalidText()
    return text


def read_header_name(text: str) -> str:
    """The name of a header or a cookie's carrier: a token of RFC 9110 5.6.2, in lower case."""
    if text.startswith(":"):
        raise InvalidText("pseudo-headers have fields of their own: hosts, path, methods")
    if _TOKEN.fullmatch(text) is None:
        raise InvalidText()
    return text.lower()


def read_token(text: str) -> str:
    """A token of RFC 9110 5.6.2, as it is written."""
    if _TOKEN.fullmatch(text) is None:
        raise InvalidText()
    return text


def read_method(text: str) -> str:
    """A request method; methods are case-sensitive."""
    if _TOKEN.fullmatch(text) is None:
        raise InvalidText()
    if text != text.upper():
        raise InvalidText(f"methods are case-sensitive: {quoted(text.upper())}?")
    if text not in METHODS and (hint := did_you_mean(text, METHODS)):
        raise InvalidText(hint)
    return text


def read_text(text: str) -> str:
    """Any text without control characters."""
    if not text.isprintable():
        raise InvalidText("control characters cannot stand here")
    if len(text) > VALUE_MAX_CHARS:
        raise InvalidText(f"the most is {VALUE_MAX_CHARS} characters")
    return text


def read_label(text: str) -> str:
    """The name or the value of a label."""
    if not text or len(text) > LABEL_MAX_CHARS or not text.isprintable() or any(c in text for c in ",="):
        raise InvalidText()
    return text


def read_service_record(text: str) -> str:
    """The name of an SRV record, as RFC 2782 has it: _service._proto.name; lower case."""
    lowered = text.lower().rstrip(".")
    if _SERVICE_RECORD.fullmatch(lowered) is None or len(lowered) > 253:
        raise InvalidText("a name of hosts stands in `endpoints`, with its port" if lowered[:1] != "_" else "")
    return lowered


def read_directory(text: str) -> str:
    """The path of a directory."""
    if not text or not text.isprintable() or len(text) > PATH_MAX_CHARS:
        raise InvalidText()
    return text.rstrip("/") or "/"


def read_file_pattern(text: str) -> str:
    """The path of files of which the last part may hold the wildcards *, ? and [...]."""
    if not text or not text.isprintable() or len(text) > PATH_MAX_CHARS:
        raise InvalidText()
    folder, _, name = text.rpartition("/")
    if any(char in folder for char in "*?["):
        raise InvalidText("wildcards stand in the last part of the path only")
    if not name.endswith(FILE_SUFFIXES):
        raise InvalidText(f"did you mean {quoted(text.rstrip('/') + '/*.json')}?" if "." not in name else "")
    return text


def read_query_name(text: str) -> str:
    """The name of a query parameter."""
    if not text or len(text) > LABEL_MAX_CHARS or not text.isprintable():
        raise InvalidText()
    return text


def read_path(text: str) -> str:
    """A path as it is compared: it begins with /, percent-encoded as on the wire, no query."""
    if not text.startswith("/"):
        raise InvalidText(f"did you mean {quoted('/' + text)}?" if text and "://" not in text else "")
    if "?" in text or "#" in text:
        raise InvalidText("a path ends before ? and #: use `query` to match parameters")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidText("other characters are percent-encoded, as on the wire: %20")
    if len(text) > VALUE_MAX_CHARS:
        raise InvalidText(f"the most is {VALUE_MAX_CHARS} characters")
    return text


def read_regex(text: str) -> str:
    """A regular expression of RE2 syntax; it matches the whole text."""
    if len(text) > VALUE_MAX_CHARS:
        raise InvalidText(f"the most is {VALUE_MAX_CHARS} characters")
    complaint = regex.check(text)
    if complaint is not None:
        hint = "syntax: https://github.com/google/re2/wiki/Syntax"
        if re.search(r"\(\?<?[=!]|\\[1-9]", text):
            hint = "look-around and back-references do not run in linear time; " + hint
        raise InvalidText(hint, message=f"bad regular expression {quoted(text)}: {complaint}")
    return text


def read_log_format(text: str) -> str:
    """`json`, or a template with fields in braces."""
    if text == "json":
        return text
    if "{" not in text:
        raise InvalidText(did_you_mean(text, ("json",)))
    from fastmesh._core import access_log

    try:
        access_log.AccessFormat(text)
    except ValueError as error:
        raise InvalidText(message=str(error)) from None
    return text


def read_statuses(text: str) -> tuple[int, int]:
    """First and last status of `200` or `200-399`."""
    match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text)
    if match is None:
        raise InvalidText()
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise InvalidText(f"did you mean '{last}-{first}'?")
    return first, last


def write_statuses(value: tuple[int, int]) -> str:
    """The written form."""
    return str(value[0]) if value[0] == value[1] else f"{value[0]}-{value[1]}"


def read_file_name(text: str) -> str:
    """The path of a file, from the configuration directory."""
    if "-----BEGIN" in text:
        raise InvalidText("put it into a file of its own, and write its path here", message="this is the PEM itself")
    if not text or text.endswith("/") or not text.isprintable() or len(text) > PATH_MAX_CHARS:
        raise InvalidText()
    return text


def read_tls_version(text: str) -> int:
    """A version as it stands on the wire."""
    if text not in TLS_VERSIONS:
        old = text.lower().removeprefix("tls").removeprefix("v").strip() in ("1", "1.0", "1.1")
        raise InvalidText("TLS 1.0 and 1.1 are broken" if old else "")
    return TLS_VERSIONS[text]


def write_tls_version(value: int) -> str:
    """The written form."""
    return next(text for text, version in TLS_VERSIONS.items() if version == value)


def read_alpn(text: str) -> str:
    """The name of a protocol in ALPN."""
    if not text or len(text) > LABEL_MAX_CHARS or not text.isascii() or not text.isprintable():
        raise InvalidText()
    known = {"http2": "h2", "http/2": "h2", "http1": "http/1.1", "http1.1": "http/1.1", "http/1": "http/1.1"}
    if text.lower() in known:
        raise InvalidText(f"did you mean {quoted(known[text.lower()])}?")
    return text


def read_spiffe_id(text: str) -> str:
    """The identity of a workload: spiffe://TRUST-DOMAIN/PATH."""
    if _SPIFFE_ID.fullmatch(text) is None:
        near = f"spiffe://{text.lstrip('/')}"
        raise InvalidText(f"did you mean {quoted(near)}?" if _SPIFFE_ID.fullmatch(near) else "")
    return text


def read_grpc_service(text: str) -> str:
    """The full name of a gRPC service."""
    if _GRPC_SERVICE.fullmatch(text) is None:
        bare, _, method = text.strip("/").partition("/")
        hint = f"did you mean {{service: {bare}, method: {method}}}?" if method else ""
        raise InvalidText(hint if _GRPC_SERVICE.fullmatch(bare) else "")
    return text


def read_grpc_method(text: str) -> str:
    """The name of a gRPC method."""
    if "." in text or _GRPC_SERVICE.fullmatch(text) is None:
        raise InvalidText("without the service" if "/" in text else "")
    return text


def read_bool(text: str) -> bool:
    """`true` or `false`: YAML's yes, no, on and off are refused, since few people know them."""
    if text.lower() not in ("true", "false"):
        raise InvalidText("write true or false")
    return text.lower() == "true"
