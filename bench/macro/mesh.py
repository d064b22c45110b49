"""fastmesh's configuration for every shape. Routes, metrics, a rate limit and least_request are at work."""

import shutil
from string import Template

from bench.macro.shapes import SERVER_NAME, Place, Shape

MESH = Template("""\
admin: {address: 127.0.0.1:$admin}
listeners:
  web: {address: 127.0.0.1:$port$listener}
services:
  service:
    endpoints: [$endpoints]
    balance: least_request
    rate_limit: {rate: 1000000/s, burst: 1000000}
${service}\
routes:
  everything: {match: {path: {prefix: /}}, to: service}
""")

ROUTE = Template("  route-$number: {match: {hosts: [$host], path: {prefix: /}}, to: service}\n")

TCP_MESH = Template("""\
admin: {address: 127.0.0.1:$admin}
listeners:
  raw: {address: 127.0.0.1:$port, tcp: {to: bulk}}
services:
  bulk:
    endpoints: [$endpoints]
    balance: least_request
""")

SERVER_TLS = ", tls: {certificates: [{certificate: server.crt, key: server.key}]}"
SERVER_TLS_MUTUAL = (
    ", tls: {certificates: [{certificate: server.crt, key: server.key}], "
    "client_certificate: required, client_ca: ca.crt}"
)
UPSTREAM_TLS = f"    tls: {{ca: ca.crt, server_name: {SERVER_NAME}, certificate: client.crt, key: client.key}}\n"
UPSTREAM_HTTP2 = "    protocol: http2\n"


def route_host(number: int) -> str:
    """The host name of one of the routes."""
    return f"service-{number}.bench.example"


def write(place: Place) -> str:
    """Write the configuration; the directory that holds it."""
    folder = place.folder / "mesh"
    folder.mkdir(exist_ok=True)
    if place.shape.tls:
        for name in ("ca.crt", "server.crt", "server.key", "client.crt", "client.key"):
            shutil.copy(place.certificates / name, folder)
    (folder / "mesh.yaml").write_text(_text(place))
    return str(folder)


def _text(place: Place) -> str:
    shape = place.shape
    ports = {"admin": place.admin_port, "port": place.port}
    endpoints = f"127.0.0.1:{place.upstream_port}"
    if shape.upstream == "http1":
        # The same upstream under another address, so that least_request has a choice to make. Not with HTTP/2: a second
        # connection would split the streams, and the peers have one.
        endpoints += f", 127.0.0.2:{place.upstream_port}"
    if shape.downstream == "tcp":
        return TCP_MESH.substitute(ports, endpoints=endpoints)
    # The catch-all is one of the routes.
    routes = [ROUTE.substitute(number=number, host=route_host(number)) for number in range(1, place.routes)]
    text = MESH.substitute(ports, endpoints=endpoints, listener=_listener(shape), service=_service(shape))
    return text + "".join(routes)


def _listener(shape: Shape) -> str:
    if shape.mutual:
        return SERVER_TLS_MUTUAL
    return SERVER_TLS if shape.tls else ""


def _service(shape: Shape) -> str:
    protocol = "" if shape.upstream == "http1" else UPSTREAM_HTTP2
    return protocol + (UPSTREAM_TLS if shape.mutual else "")
