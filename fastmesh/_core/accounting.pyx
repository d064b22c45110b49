"""The last stage of the pipeline: what an exchange leaves behind in counters and in the access log.

Log lines gather in the worker's memory and go out many at a time through a pipe that never blocks; when its reader
cannot keep up, whole lines are dropped and counted.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memmove, strchr

from fastmesh._core.access_log cimport ACCESS_LINE_MAX_BYTES, access_format, access_record_t
from fastmesh._core.grpc cimport GRPC_UNIMPLEMENTED, grpc_path_t, grpc_split_path
from fastmesh._core.grpc_calls cimport grpc_calls_count, grpc_status_name
from fastmesh._core.hashing cimport splitmix64
from fastmesh._core.headers cimport IDENTITY_PARTS
from fastmesh._core.histogram cimport histogram_record
from fastmesh._core.live cimport (
    EXCHANGE_GRPC,
    EXCHANGE_TCP,
    PROTOCOL_HTTP1,
    PROTOCOL_HTTP2,
    PROTOCOL_TCP,
    tls_t,
    worker_t,
)
from fastmesh._core.reason cimport REASON_NONE, reason_name
from fastmesh._core.shared cimport series_stats_t, service_stats_t
from fastmesh._core.sockets cimport write

cdef enum:
    CLIENT_TEXT_BYTES = 64

cdef const char* EMPTY = b""
cdef const char* HTTP10_NAME = b"HTTP/1.0"
cdef const char* HTTP11_NAME = b"HTTP/1.1"
cdef const char* HTTP2_NAME = b"HTTP/2"
cdef const char* TCP_NAME = b"TCP"
cdef const char* TLS12_NAME = b"TLSv1.2"
cdef const char* TLS13_NAME = b"TLSv1.3"
cdef const char* V4_FORM = b"%s:%u"
cdef const char* V6_FORM = b"[%s]:%u"


cdef void count_call(exchange_t* exchange, uint64_t duration_us) noexcept nogil:
    cdef worker_t* worker = exchange.worker
    # Clients pick the names: one is believed when an endpoint has answered to it.
    cdef bint is_known = (
        exchange.reason == REASON_NONE and exchange.grpc_status >= 0 and exchange.grpc_status != GRPC_UNIMPLEMENTED
    )
    grpc_calls_count(
        worker.shared, worker.slot, exchange.destination.service.id,
        exchange.request.text + exchange.request.path_off, exchange.request.path_len,
        is_known, exchange.grpc_status, duration_us,
    )


cdef void count(exchange_t* exchange, uint64_t duration_us, uint64_t upstream_us) noexcept nogil:
    cdef series_stats_t* series = exchange.series
    cdef service_stats_t* service
    cdef uint32_t status_class = exchange.status // 100
    series.requests[status_class if status_class <= 5 else 0] += 1
    series.bytes_in += exchange.bytes_in
    series.bytes_out += exchange.bytes_out
    if exchange.reason:
        series.reasons[exchange.reason] += 1
    if exchange.endpoint == NULL:
        return                          # a limit's refusal, say: its microsecond is not the service's latency
    if exchange.flags & EXCHANGE_GRPC:
        count_call(exchange, duration_us)
    service = exchange.destination.service.stats
    histogram_record(service.duration_us, duration_us)
    service.duration_sum_us += duration_us
    if exchange.answered_ns:
        histogram_record(service.upstream_us, upstream_us)
        service.upstream_sum_us += upstream_us
        exchange.endpoint.stats.ewma_us = <uint64_t>(exchange.endpoint.load.ewma_ns / 1000)


cdef void write_client(exchange_t* exchange, char* out) noexcept nogil:
    """The client's address: with its port where we see it ourselves, else as the trusted proxies gave it."""
    cdef const char* form = V4_FORM
    if exchange.client_len:
        memcpy(out, exchange.request.text + exchange.client_off, exchange.client_len)
        out[exchange.client_len] = 0
        return
    if strchr(exchange.downstream.peer, c":") != NULL:
        form = V6_FORM
    snprintf(out, CLIENT_TEXT_BYTES, form, exchange.downstream.peer, exchange.downstream.peer_port)


cdef const char* protocol_name(uint8_t protocol, uint8_t version_minor) noexcept nogil:
    if protocol == PROTOCOL_HTTP2:
        return HTTP2_NAME
    if protocol == PROTOCOL_TCP:
        return TCP_NAME
    if protocol != PROTOCOL_HTTP1:
        return EMPTY
    return HTTP11_NAME if version_minor else HTTP10_NAME


cdef const char* identity_of(const tls_t* tls) noexcept nogil:
    cdef int part
    if tls.identity_text == NULL:
        return EMPTY
    for part in range(IDENTITY_PARTS):
        if tls.identity_len[part]:
            return tls.identity_text + tls.identity_at[part]
    return EMPTY


cdef void describe_protocols(exchange_t* exchange, access_record_t* record) noexcept nogil:
    cdef const tls_t* tls = exchange.downstream.tls
    cdef grpc_path_t path
    record.protocol = EMPTY
    if exchange.request.text != NULL or exchange.flags & EXCHANGE_TCP:
        record.protocol = protocol_name(exchange.downstream.protocol, exchange.request.version_minor)
    # HTTP/1.1 goes without saying.
    record.upstream_protocol = EMPTY
    if exchange.upstream_protocol != PROTOCOL_HTTP1 or exchange.downstream.protocol != PROTOCOL_HTTP1:
        record.upstream_protocol = protocol_name(exchange.upstream_protocol, 1)
    record.tls = EMPTY
    record.identity = EMPTY
    if tls != NULL:
        record.tls = TLS13_NAME if tls.version == 3 else TLS12_NAME
        record.identity = identity_of(tls)
    record.grpc_status = EMPTY
    record.grpc_service_len = 0
    record.grpc_method_len = 0
    if not exchange.flags & EXCHANGE_GRPC:
        return
    record.grpc_status = grpc_status_name(exchange.grpc_status)
    if grpc_split_path(exchange.request.text + exchange.request.path_off, exchange.request.path_len, &path):
        record.grpc_service = path.service
        record.grpc_service_len = <uint32_t>path.service_len
        record.grpc_method = path.method
        record.grpc_method_len = <uint32_t>path.method_len


cdef void append_line(exchange_t* exchange, uint64_t duration_us, uint64_t upstream_us) noexcept nogil:
    cdef worker_t* worker = exchange.worker
    cdef access_record_t record
    cdef char[CLIENT_TEXT_BYTES] client
    cdef size_t length
    if worker.log_len + ACCESS_LINE_MAX_BYTES > LOG_ROOM_BYTES:
        log_flush(worker)
        if worker.log_len + ACCESS_LINE_MAX_BYTES > LOG_ROOM_BYTES:
            worker.stats.log_dropped += 1
            return
    write_client(exchange, client)
    record.started_unix_us = (exchange.begun_ns + worker.unix_offset_ns) // 1000
    record.duration_us = duration_us
    record.upstream_us = upstream_us
    record.bytes_in = exchange.bytes_in
    record.bytes_out = exchange.bytes_out
    record.request = &exchange.request if exchange.request.text != NULL else NULL
    record.client = client
    record.listener = exchange.listener.name
    record.route = exchange.route.name if exchange.route != NULL else EMPTY
    record.service = exchange.destination.service.name if exchange.destination != NULL else EMPTY
    record.endpoint = <const char*>exchange.endpoint.text if exchange.endpoint != NULL else EMPTY
    record.reason = reason_name(exchange.reason)
    record.detail = exchange.detail
    record.status = exchange.status
    record.retries = exchange.retries
    describe_protocols(exchange, &record)
    length = access_format(
        exchange.tables.log_format, &record, worker.log + worker.log_len, LOG_ROOM_BYTES - worker.log_len
    )
    if length == 0:
        worker.stats.log_dropped += 1
        return
    if worker.log_len == 0:
        worker.log_since_ms = worker.now_ms
    worker.log_len += <uint32_t>length
    worker.stats.log_lines += 1


cdef void account_exchange(exchange_t* exchange) noexcept nogil:
    cdef worker_t* worker = exchange.worker
    cdef uint64_t duration_us = (worker.now_ns - exchange.begun_ns) // 1000
    cdef uint64_t upstream_us = 0
    if exchange.answered_ns:
        upstream_us = (exchange.answered_ns - exchange.sent_ns) // 1000
    count(exchange, duration_us, upstream_us)
    if exchange.tables.log_format == NULL or worker.log_fd < 0:
        return
    if exchange.reason or splitmix64(&worker.random) <= exchange.tables.log_threshold:
        append_line(exchange, duration_us, upstream_us)


cdef void log_flush(worker_t* worker) noexcept nogil:
    cdef ssize_t written
    if worker.log_len == 0 or worker.log_fd < 0:
        return
    written = write(worker.log_fd, worker.log, worker.log_len)
    worker.log_since_ms = worker.now_ms
    if written <= 0:
        return                          # full: the lines wait, and further ones are dropped
    worker.log_len -= <uint32_t>written
    if worker.log_len:
        memmove(worker.log, worker.log + written, worker.log_len)
