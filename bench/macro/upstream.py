"""The upstreams that every proxy stands before: nginx for HTTP/1.1, plain and with TLS, and nghttpd for HTTP/2.

nghttpd because it can answer with trailers, as gRPC does, and because it serves more than any of the proxies takes.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template

from bench.macro.ports import free_ports
from bench.macro.processes import Process
from bench.macro.proxies import binary
from bench.macro.ready import http1_problem, http2_problem, wait_until
from bench.macro.shapes import CONNECTIONS_MAX, Shape
from bench.macro.work import GRPC_RESPONSE, GRPC_WORK, HTTP2_WORK, SIZES, SMALL

CONFIG = Template("""\
$user
daemon off;
master_process off;
worker_rlimit_nofile $files;
pid $folder/upstream.pid;
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
    sendfile on;
    open_file_cache max=16;
    default_type text/plain;
    add_header X-Bench-Upstream 1;
    server {
        listen 127.0.0.1:$plain backlog=4096;
        listen 127.0.0.2:$plain backlog=4096;
        root $folder/bodies;
        location = /small { return 200 "$small"; }
    }
    server {
        listen 127.0.0.1:$tls backlog=4096 ssl;
        listen 127.0.0.2:$tls backlog=4096 ssl;
        ssl_certificate $certificates/server.crt;
        ssl_certificate_key $certificates/server.key;
        ssl_client_certificate $certificates/ca.crt;
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        location = /small { return 200 "$small"; }
    }
}
""")


class Upstreams:
    """Their ports."""

    def __init__(self) -> None:
        self.plain, self.tls, self.http2, self.grpc = free_ports(4)

    def port(self, shape: Shape) -> int:
        """The one that a shape needs."""
        return {"http1": self.tls if shape.mutual else self.plain, "http2": self.http2, "grpc": self.grpc}[
            shape.upstream
        ]


@contextmanager
def running(folder: Path, certificates: Path, cpus: set[int]) -> Iterator[Upstreams]:
    """Start them, those that are installed, and wait until they answer. Raises ProcessError."""
    bodies = folder / "bodies"
    contents = {path: b"x" * size for path, size in SIZES.items()}
    contents |= {HTTP2_WORK.path: SMALL, GRPC_WORK.path: GRPC_RESPONSE}
    for path, content in contents.items():
        (bodies / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (bodies / path[1:]).write_bytes(content)
    ports = Upstreams()
    with ExitStack() as stack:
        process = stack.enter_context(Process("nginx", _nginx(folder, certificates, ports), cpus, folder / "nginx.log"))
        wait_until(process, lambda: http1_problem(ports.plain, None))
        wait_until(process, lambda: http1_problem(ports.tls, certificates))
        if binary("nghttpd"):
            command = _nghttpd(folder, ports.http2)
            process = stack.enter_context(Process("nghttpd", command, cpus, folder / "nghttpd.log"))
            wait_until(process, lambda: http2_problem(ports.http2, HTTP2_WORK))
            # A gRPC server sends no length, and its status comes last.
            command = [*_nghttpd(folder, ports.grpc), "--no-content-length", "--trailer=grpc-status: 0"]
            process = stack.enter_context(Process("nghttpd", command, cpus, folder / "nghttpd-grpc.log"))
            wait_until(process, lambda: http2_problem(ports.grpc, GRPC_WORK))
        yield ports


def _nginx(folder: Path, certificates: Path, ports: Upstreams) -> list[str]:
    path = folder / "upstream.conf"
    path.write_text(
        CONFIG.substitute(
            user="user root;" if os.geteuid() == 0 else "",
            folder=folder,
            certificates=certificates,
            plain=ports.plain,
            tls=ports.tls,
            files=CONNECTIONS_MAX,
            small=SMALL.decode(),
        )
    )
    return [binary("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(path)]


def _nghttpd(folder: Path, port: int) -> list[str]:
    types = folder / "types"
    types.write_text("application/grpc grpc\ntext/plain small\n")
    options = ["--no-tls", "--address=127.0.0.1", f"--htdocs={folder / 'bodies'}", f"--mime-types-file={types}"]
    # As many streams as the load has, so that one connection takes them all.
    return [binary("nghttpd"), *options, "--max-concurrent-streams=256", str(port)]
