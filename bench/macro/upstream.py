"""The upstream that every proxy stands before: one nginx worker with bodies of three sizes."""

import os
from pathlib import Path
from string import Template

from bench.macro.ports import wait_ready
from bench.macro.processes import Process
from bench.macro.proxies import CONNECTIONS_MAX, binary

BODY_BYTES = {"/small": 127, "/64k": 64 * 1024, "/1m": 1024 * 1024}

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
        listen 127.0.0.1:$port backlog=4096;
        listen 127.0.0.2:$port backlog=4096;
        root $folder/bodies;
        location = /small { return 200 "$small"; }
    }
}
""")


def start(folder: Path, port: int, cpus: set[int]) -> Process:
    """Start it and wait until it answers; the caller ends it. Raises ProcessError."""
    (folder / "bodies").mkdir(parents=True)
    for path, size in BODY_BYTES.items():
        (folder / "bodies" / path[1:]).write_bytes(b"x" * size)
    user = "user root;" if os.geteuid() == 0 else ""
    small = "x" * BODY_BYTES["/small"]
    text = CONFIG.substitute(user=user, folder=folder, port=port, files=CONNECTIONS_MAX, small=small)
    config = folder / "upstream.conf"
    config.write_text(text)
    command = [binary("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(config)]
    process = Process("upstream", command, cpus, folder / "upstream.log")
    try:
        wait_ready(process, port, "/small", "localhost", BODY_BYTES["/small"])
    except BaseException:
        process.stop()
        raise
    return process
