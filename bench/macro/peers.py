"""The configuration of each peer for every shape that it can take, as small as it can be.

All of them are plain reverse proxies with one worker, keep-alive on both sides, no access log, and limits out of the
way.
"""

import os
from string import Template

from bench.macro.shapes import CONNECTIONS_MAX, SERVER_NAME, Place, Shape

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
        listen 127.0.0.1:$port backlog=4096$listen;
${server}\
        location / {
${location}\
        }
    }
}
""")

NGINX_PROXY = Template("""\
            proxy_pass $scheme://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffer_size 16k;
            proxy_buffers 16 16k;
            proxy_max_temp_file_size 0;
""")

NGINX_GRPC = "            grpc_pass grpc://service;\n"

NGINX_TLS = Template("""\
        ssl_certificate $certificates/server.crt;
        ssl_certificate_key $certificates/server.key;
        ssl_protocols TLSv1.3;
""")

NGINX_MUTUAL = Template("""\
        ssl_client_certificate $certificates/ca.crt;
        ssl_verify_client on;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_certificate $certificates/client.crt;
        proxy_ssl_certificate_key $certificates/client.key;
        proxy_ssl_trusted_certificate $certificates/ca.crt;
        proxy_ssl_verify on;
        proxy_ssl_name $name;
        proxy_ssl_server_name on;
""")

HAPROXY = Template("""\
global
    nbthread 1
    maxconn $connections
defaults
    mode $mode
    timeout connect 5s
    timeout client 300s
    timeout server 300s
${reuse}\
frontend web
    bind 127.0.0.1:$port backlog 4096$bind
    default_backend service
backend service
    server first 127.0.0.1:$upstream$server
""")

HAPROXY_TLS = Template(" ssl crt $certificates/server.pem ssl-min-ver TLSv1.3")
HAPROXY_VERIFY = Template(" ca-file $certificates/ca.crt verify required")
HAPROXY_UPSTREAM_TLS = Template(
    " ssl crt $certificates/client.pem ssl-min-ver TLSv1.3 sni str($name) verifyhost $name"
    " ca-file $certificates/ca.crt verify required"
)

ENVOY = Template("""\
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
${filter}\
${listener}\
  clusters:
  - name: service
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $upstream}}}
${service}\
""")

ENVOY_HTTP = """\
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
"""

ENVOY_TCP = """\
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: raw
          cluster: service
"""

ENVOY_TLS = Template("""\
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: $required
          common_tls_context:
            tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
            tls_certificates:
            - certificate_chain: {filename: $certificates/server.crt}
              private_key: {filename: $certificates/server.key}
""")

ENVOY_TRUST = Template("""\
            validation_context: {trusted_ca: {filename: $certificates/ca.crt}}
""")

ENVOY_UPSTREAM_TLS = Template("""\
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: $name
        common_tls_context:
          tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
          tls_certificates:
          - certificate_chain: {filename: $certificates/client.crt}
            private_key: {filename: $certificates/client.key}
          validation_context:
            trusted_ca: {filename: $certificates/ca.crt}
            match_typed_subject_alt_names:
            - {san_type: DNS, matcher: {exact: $name}}
""")

ENVOY_UPSTREAM_HTTP2 = """\
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"""

NGHTTPX = Template("""\
frontend=127.0.0.1,$port$frontend
backend=127.0.0.1,$upstream;;proto=$protocol$backend
workers=1
single-process=yes
backlog=4096
errorlog-file=/dev/stderr
frontend-keep-alive-timeout=5m
frontend-http2-read-timeout=5m
backend-keep-alive-timeout=5m
${tls}\
""")

NGHTTPX_TLS = Template("""\
private-key-file=$certificates/server.key
certificate-file=$certificates/server.crt
tls-min-proto-version=TLSv1.3
""")

NGHTTPX_MUTUAL = Template("""\
verify-client=yes
verify-client-cacert=$certificates/ca.crt
cacert=$certificates/ca.crt
client-private-key-file=$certificates/client.key
client-cert-file=$certificates/client.crt
""")


def nginx(place: Place) -> str:
    """nginx.conf. It speaks HTTP/2 to an upstream for gRPC only; TCP is a module that Debian's nginx-light lacks."""
    shape = place.shape
    server = _fill(NGINX_TLS, place) if shape.tls else ""
    if shape.mutual:
        server += _fill(NGINX_MUTUAL, place)
    proxy = NGINX_PROXY.substitute(scheme="https" if shape.mutual else "http")
    return NGINX.substitute(
        user="user root;" if os.geteuid() == 0 else "",
        folder=place.folder,
        files=CONNECTIONS_MAX,
        port=place.port,
        upstream=place.upstream_port,
        listen=(" ssl" if shape.tls else "") + (" http2" if shape.downstream == "http2" else ""),
        server=server,
        location=NGINX_GRPC if shape.upstream == "grpc" else proxy,
    )


def haproxy(place: Place) -> str:
    """haproxy.cfg."""
    shape = place.shape
    bind = _fill(HAPROXY_TLS, place) if shape.tls else ""
    if shape.mutual:
        bind += _fill(HAPROXY_VERIFY, place)
    return HAPROXY.substitute(
        connections=CONNECTIONS_MAX // 2 - 500,  # each connection may need a descriptor on either side
        mode="tcp" if shape.downstream == "tcp" else "http",
        reuse="" if shape.downstream == "tcp" else "    http-reuse always\n",
        port=place.port,
        upstream=place.upstream_port,
        bind=bind + (" proto h2" if shape.downstream == "http2" else ""),
        server=(_fill(HAPROXY_UPSTREAM_TLS, place) if shape.mutual else "") + (" proto h2" if _http2(shape) else ""),
    )


def envoy(place: Place) -> str:
    """envoy.yaml. A listener tells HTTP/2 from HTTP/1.1 by itself."""
    shape = place.shape
    listener = _fill(ENVOY_TLS, place, required=str(shape.mutual).lower()) if shape.tls else ""
    service = ENVOY_UPSTREAM_HTTP2 if _http2(shape) else ""
    if shape.mutual:
        listener += _fill(ENVOY_TRUST, place)
        service += _fill(ENVOY_UPSTREAM_TLS, place)
    return ENVOY.substitute(
        port=place.port,
        upstream=place.upstream_port,
        filter=ENVOY_TCP if shape.downstream == "tcp" else ENVOY_HTTP,
        listener=listener,
        service=service,
    )


def nghttpx(place: Place) -> str:
    """nghttpx.conf. It has no TCP."""
    shape = place.shape
    tls = _fill(NGHTTPX_TLS, place) if shape.tls else ""
    if shape.mutual:
        tls += _fill(NGHTTPX_MUTUAL, place)
    return NGHTTPX.substitute(
        port=place.port,
        upstream=place.upstream_port,
        frontend="" if shape.tls else ";no-tls",
        protocol="h2" if _http2(shape) else "http/1.1",
        backend=f";tls;sni={SERVER_NAME}" if shape.mutual else "",
        tls=tls,
    )


def _http2(shape: Shape) -> bool:
    return shape.upstream in ("http2", "grpc")


def _fill(template: Template, place: Place, **words: str) -> str:
    return template.substitute(certificates=place.certificates, name=SERVER_NAME, **words)
