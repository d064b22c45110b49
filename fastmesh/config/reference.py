"""docs/configuration.md, made from the schema: `python -m fastmesh.config.reference` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fastmesh.config.decode import DictReader, EitherReader, ListReader, Reader, ScalarReader, StructReader
from fastmesh.config.json_schema import describe_fields, written_default
from fastmesh.config.schema import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = Path(__file__).parents[2] / "docs" / "configuration.md"

INTRODUCTION = """\
# Configuration

<!-- Written by `python -m fastmesh.config.reference` from fastmesh/config/schema.py: edit that. -->

A mesh is a directory of `*.yaml` (or `*.yml`) files. Each file may hold any of the kinds below; `listeners`,
`services` and `routes` of all files are put together by name, in the order of the files' names. Subdirectories, files
whose name begins with a dot, and editors' backup files are not read. Symbolic links are followed, so a mounted
Kubernetes ConfigMap works.

`fastmesh check DIR` says what is wrong, all of it at once, with file:line:column; `fastmesh run DIR` follows every
change, and keeps the last good configuration while there is an error. `fastmesh schema` prints a JSON Schema for
editors.

## A mesh

```yaml
admin: {address: 127.0.0.1:9900}

listeners:
  web: {address: 127.0.0.1:8080}

services:
  hello:
    endpoints:
      - {address: 127.0.0.1:9001, labels: {version: v1}}
      - {address: 127.0.0.1:9002, labels: {version: v2}, weight: 2}
    balance: least_request
    timeouts: {connect: 1s, request: 15s, idle: 30s}

routes:
  beta-users:
    match:
      hosts: [hello.local, "*.hello.local"]
      headers: {x-user-group: beta}
    to: {service: hello, subset: {version: v2}}
  hello:
    match: {path: {prefix: /}}
    to:
      - {service: hello, subset: {version: v1}, weight: 90}
      - {service: hello, subset: {version: v2}, weight: 10}
    rate_limit: {rate: 100/s, burst: 20, key: {header: x-api-key}}
```

## TLS, mutual TLS, gRPC

```yaml
listeners:
  web:
    address: 0.0.0.0:8443
    tls:
      certificates: [{certificate: certs/web.crt, key: certs/web.key}]
      client_certificate: required            # mutual TLS
      client_ca: certs/ca.crt

services:
  orders:
    endpoints: [orders.internal:9443]
    protocol: grpc
    tls: {ca: certs/ca.crt, certificate: certs/web.crt, key: certs/web.key}

routes:
  orders:
    match:
      grpc: {service: shop.Orders}
      client: {uri: {prefix: "spiffe://mesh.local/"}}
    to: orders
```

Certificates and keys are PEM files; paths begin at the configuration directory. They are checked with the rest and are
part of it: when a file changes, the new pair serves new connections, and old ones live on; while certificate and key do
not belong together, the last good configuration stays. A certificate that expires soon (in 14 days, or in a third of
its lifetime, if that is less) is a warning, each day; `fastmesh status` shows them all.

## TCP

```yaml
listeners:
  database: {address: 0.0.0.0:5432, tcp: {to: database}}
  passthrough:                                # TLS, untouched, by the name that the client asks for
    address: 0.0.0.0:9443
    tcp: {sni: {db.example.org: database, "*.shop.example.org": shop}}
  any: {address: 0.0.0.0:9000, protocol: detect, tcp: {to: database}}   # HTTP by the routes, all else by `tcp`

services:
  database: {endpoints: [10.0.0.1:5432]}
  shop: {endpoints: [10.0.0.2:443, 10.0.0.3:443]}

routes:
  shop: {to: shop}
```

## Which route wins

The most specific one, as the Gateway API has it; only what an earlier step leaves equal comes to the next:

1. host: exact, then the longest `*.` suffix, then routes for any host;
2. path: exact, then a regular expression (the longest one), then the longest prefix;
3. routes that name methods;
4. the number of tests of the client's identity, then of headers, then of the query (`grpc` is one of a header);
5. the one first written.

When no route of a host takes a request, routes for wider hosts are tried. When none takes it at all: 404 `no_route`.
`fastmesh check` warns of a route that can never match.

## Values

| value | written | |
| --- | --- | --- |
| duration | `250ms`, `1.5s`, `5m`, `1h` | always with its unit |
| size | `64KiB`, `1MiB`, `2GiB`, `500B` | a plain number is bytes |
| rate | `100/s`, `5000/m`, `10/h` | |
| percentage | `50%` | |
| address | `127.0.0.1:8080`, `[::1]:8080`, `name.example:80` | names only for endpoints |

## YAML

A small part of YAML is read: mappings, lists and plain values. Refused, each with its place: unknown and duplicate
keys, tags, merge keys (`<<`), several documents in a file, aliases that multiply, anything that is not UTF-8, files
over 64 MiB. YAML reads `yes`, `no`, `on` and `off` as booleans: where they are meant as text, quote them. Quote
`"*.example.org"`, too: a bare `*` begins an alias.
"""


def reference() -> str:
    """The text of the page."""
    readers = list(_structs(StructReader(Config), {}))
    sections = [_section(reader) for reader in readers]
    return INTRODUCTION + "\n" + "\n".join(sections)


def _structs(reader: StructReader, seen: dict[str, None]) -> Iterator[StructReader]:
    """Depth first: what a field refers to comes soon after it."""
    if reader.struct.__name__ in seen:
        return
    seen[reader.struct.__name__] = None
    yield reader
    for _, inner in reader.fields.values():
        for part in _parts(inner):
            yield from _structs(part, seen)


def _parts(reader: Reader) -> Iterator[StructReader]:
    match reader:
        case StructReader():
            yield reader
        case ListReader():
            yield from _parts(reader.item)
        case DictReader():
            yield from _parts(reader.value)
        case EitherReader():
            yield from _parts(reader.struct)


def _section(reader: StructReader) -> str:
    struct = reader.struct
    name = "Kinds" if struct is Config else struct.__name__
    lines = [f"## {name}", "", " ".join((struct.__doc__ or "").split())]
    if struct.choices:
        lines += ["", "Exactly one of " + ", ".join(f"`{choice}`" for choice in struct.choices) + "."]
    if struct.needed:
        lines += ["", "At least one of " + ", ".join(f"`{field}`" for field in struct.needed) + "."]
    lines += ["", "| field | value | default | |", "| --- | --- | --- | --- |"]
    descriptions = describe_fields(struct)
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(struct)}
    for field, (_, inner) in reader.fields.items():
        shown = "required" if field in reader.required else _default(inner, defaults[field])
        lines.append(f"| `{field}` | {_type(inner)} | {shown} | {descriptions[field].replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _default(reader: Reader, value: Any) -> str:
    if isinstance(reader, StructReader) and value is not None:
        return (
            "" if not reader.struct.choices else f"`{json.dumps(written_default(reader, value)).replace(chr(34), '')}`"
        )
    written = None if value is msgspec.NODEFAULT else written_default(reader, value)
    if written is None or written == "":
        return ""
    return f"`{str(written).lower() if isinstance(written, bool) else written}`"


def _type(reader: Reader) -> str:
    match reader:
        case ScalarReader():
            return (
                reader.scalar.expected
                if reader.scalar.name in ("a word that is known here", "a number")
                else reader.scalar.name.removeprefix("a ")
            )
        case ListReader():
            return f"{_type(reader.item)}, or a list" if reader.single else f"list: {_type(reader.item)}"
        case DictReader():
            return f"mapping: {_type(reader.key)} to {_type(reader.value)}"
        case EitherReader():
            return f"{_type(reader.struct)}, or {_type(reader.scalar)}"
        case StructReader():
            link = f"[{reader.struct.__name__}](#{reader.struct.__name__.lower()})"
            return f"{link}, or {_type(reader.short)}" if reader.short else link
    raise AssertionError(reader)


if __name__ == "__main__":
    PATH.write_text(reference())
