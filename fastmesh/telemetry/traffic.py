"""What the workers counted of the traffic, by series, service, endpoint and listener, as metrics."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from fastmesh._core.histogram import bounds
from fastmesh._core.reason import NAMES as REASONS
from fastmesh._core.shared import EndpointStats, ListenerStats, SeriesStats, ServiceStats, SharedMemory
from fastmesh._core.tls import FAILURES
from fastmesh.telemetry.exposition import Families, Family, Sample, labels, used_only
from fastmesh.telemetry.figures import ControlFigures
from fastmesh.telemetry.ids import OVERFLOW_ID, SLOT_KINDS, IdRegistry, Kind, Name

OVERFLOW = "_overflow"
US = 1_000_000
STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")

_BOUNDS_US = bounds()
# Powers of two are enough for a scrape: 25 lines a histogram instead of 97.
_EXPOSED = [(n, bound) for n, bound in enumerate(_BOUNDS_US[:-1]) if int(bound).bit_count() == 1]
_LE = [(n, f'le="{bound / US!r}"') for n, bound in _EXPOSED]


def named(shared: SharedMemory, registry: IdRegistry, kind: Kind, width: int) -> list[tuple[tuple[str, ...], int]]:
    """The names, as tuples, and ids of a kind for which anything was counted; id 0 comes last, as OVERFLOW."""
    names: dict[int, Name] = {number: name for name, number in registry.items(kind)}
    names[OVERFLOW_ID] = (OVERFLOW,) * width
    found = []
    for number in shared.used(SLOT_KINDS[kind], names):
        name = names[number]
        found.append(((name,) if isinstance(name, str) else name, number))
    return found


def series_families(shared: SharedMemory, registry: IdRegistry) -> Families:
    kept: list[tuple[str, SeriesStats]] = []

    def requests() -> Iterator[Sample]:
        # The first family reads the slots, in step with its lines; the others have what it read.
        for name, number in named(shared, registry, Kind.SERIES, 4):
            listener, route, service, subset = name
            pairs = labels(listener=listener, route=route, service=service, subset=subset)
            stats = shared.series(number)
            kept.append((pairs, stats))
            for status_class, count in zip(STATUS_CLASSES, stats.requests, strict=True):
                if count:
                    yield "", f'{pairs},status_class="{status_class}"', count

    def failures() -> Iterator[Sample]:
        for pairs, stats in kept:
            for reason, count in zip(REASONS, stats.reasons, strict=False):
                if count and reason:
                    yield "", f'{pairs},reason="{reason}"', count

    yield Family("fastmesh_requests", "counter", "Exchanges that ended, by class of their status."), requests()
    yield Family("fastmesh_failures", "counter", "Exchanges that failed or were answered here, by reason."), failures()
    yield (
        Family("fastmesh_request_body_bytes", "counter", "Body bytes from clients.", "bytes"),
        used_only((pairs, stats.bytes_in) for pairs, stats in kept),
    )
    yield (
        Family("fastmesh_response_body_bytes", "counter", "Body bytes to clients.", "bytes"),
        used_only((pairs, stats.bytes_out) for pairs, stats in kept),
    )


def _histogram(pairs: str, counts: Sequence[int], sum_us: int) -> Iterator[Sample]:
    running = list(accumulate(counts))
    for bucket, edge in _LE:
        yield "_bucket", f"{pairs},{edge}", running[bucket]
    yield "_bucket", f'{pairs},le="+Inf"', running[-1]
    yield "_sum", pairs, sum_us / US
    yield "_count", pairs, running[-1]


_SERVICE_COUNTERS: tuple[tuple[str, str, Callable[[ServiceStats], int]], ...] = (
    ("fastmesh_upstream_connects", "Connections opened to endpoints.", lambda stats: stats.connects),
    ("fastmesh_upstream_connect_failures", "Connections that failed to open.", lambda stats: stats.connect_failures),
    ("fastmesh_upstream_reuses", "Requests on a connection from the pool.", lambda stats: stats.reuses),
    ("fastmesh_retries", "Requests sent again, where that was safe.", lambda stats: stats.retries),
    ("fastmesh_panic_requests", "Requests sent while too few endpoints were healthy.", lambda stats: stats.panics),
)


def service_families(shared: SharedMemory, registry: IdRegistry) -> Families:
    kept: list[tuple[str, ServiceStats]] = []

    def durations() -> Iterator[Sample]:
        for (service,), number in named(shared, registry, Kind.SERVICE, 1):
            pairs, stats = labels(service=service), shared.service(number)
            kept.append((pairs, stats))
            if any(stats.duration_us):
                yield from _histogram(pairs, stats.duration_us, stats.duration_sum_us)

    def upstream() -> Iterator[Sample]:
        for pairs, stats in kept:
            if any(stats.upstream_us):
                yield from _histogram(pairs, stats.upstream_us, stats.upstream_sum_us)

    about = "From the head of a request to the end of its response."
    yield Family("fastmesh_request_duration_seconds", "histogram", about, "seconds"), durations()
    about = "From a request sent on to the head of its response."
    yield Family("fastmesh_upstream_duration_seconds", "histogram", about, "seconds"), upstream()
    yield (
        Family("fastmesh_requests_active", "gauge", "Exchanges that go on."),
        [("", pairs, stats.active) for pairs, stats in kept],
    )
    for name, about, value in _SERVICE_COUNTERS:
        yield Family(name, "counter", about), used_only([(pairs, value(stats)) for pairs, stats in kept])


_ENDPOINT_COUNTERS: tuple[tuple[str, str, Callable[[EndpointStats], int]], ...] = (
    ("fastmesh_endpoint_failures", "Requests that failed there.", lambda stats: stats.failures),
    ("fastmesh_endpoint_connect_failures", "Connections that failed to open.", lambda stats: stats.connect_failures),
)
_ENDPOINT_GAUGES: tuple[tuple[str, str, Callable[[EndpointStats], int]], ...] = (
    ("fastmesh_endpoint_requests_active", "Requests in flight.", lambda stats: stats.active),
    ("fastmesh_endpoint_connections", "Open connections.", lambda stats: stats.connections),
    ("fastmesh_endpoint_connections_idle", "Of those, in the pool.", lambda stats: stats.idle),
)


def endpoint_families(
    shared: SharedMemory, registry: IdRegistry, figures: ControlFigures, by_endpoint: bool
) -> Families:
    """Health and pools by service; and, if asked, all of it by endpoint."""
    health = [(labels(service=service.service), service) for service in figures.services]
    yield (
        Family("fastmesh_endpoints", "gauge", "Endpoints of a service."),
        [("", pairs, service.total) for pairs, service in health],
    )
    yield (
        Family("fastmesh_endpoints_healthy", "gauge", "Of those, the ones that are well."),
        [("", pairs, service.healthy) for pairs, service in health],
    )
    yield (
        Family("fastmesh_service_panic", "gauge", "1: too few endpoints are healthy, so all are used."),
        [("", pairs, int(service.panicking)) for pairs, service in health],
    )
    ids: dict[str, list[int]] = defaultdict(list)
    for (service, _), number in named(shared, registry, Kind.ENDPOINT, 2):
        ids[service].append(number)
    pools = [(labels(service=service), shared.endpoints(numbers)) for service, numbers in ids.items()]
    yield (
        Family("fastmesh_upstream_connections", "gauge", "Open connections to endpoints."),
        [("", pairs, stats.connections) for pairs, stats in pools],
    )
    yield (
        Family("fastmesh_upstream_connections_idle", "gauge", "Of those, in the pool."),
        [("", pairs, stats.idle) for pairs, stats in pools],
    )
    if by_endpoint:
        yield from _single_endpoint_families(shared, registry, figures)


def _single_endpoint_families(shared: SharedMemory, registry: IdRegistry, figures: ControlFigures) -> Families:
    kept: list[tuple[str, EndpointStats]] = []

    def requests() -> Iterator[Sample]:
        for (service, address), number in named(shared, registry, Kind.ENDPOINT, 2):
            pairs, stats = labels(service=service, endpoint=address), shared.endpoint(number)
            kept.append((pairs, stats))
            yield "", pairs, stats.requests

    yield Family("fastmesh_endpoint_requests", "counter", "Requests sent."), requests()
    for name, about, value in _ENDPOINT_COUNTERS:
        yield Family(name, "counter", about), used_only([(pairs, value(stats)) for pairs, stats in kept])
    for name, about, value in _ENDPOINT_GAUGES:
        yield Family(name, "gauge", about), [("", pairs, value(stats)) for pairs, stats in kept]
    yield (
        Family("fastmesh_endpoint_ewma_seconds", "gauge", "The round trip as peak_ewma sees it.", "seconds"),
        used_only((pairs, stats.ewma_us / US) for pairs, stats in kept),
    )
    yield (
        Family("fastmesh_endpoint_healthy", "gauge", "What the active check says: 1 or 0."),
        [("", labels(service=each.service, endpoint=each.address), int(each.healthy)) for each in figures.endpoints],
    )


_LISTENER_COUNTERS: tuple[tuple[str, str, bool, Callable[[ListenerStats], int]], ...] = (
    ("fastmesh_connections_accepted", "Client connections accepted.", False, lambda stats: stats.accepted),
    ("fastmesh_connections_refused", "Client connections over the limit.", False, lambda stats: stats.refused),
    ("fastmesh_received_bytes", "Bytes from clients, heads included.", True, lambda stats: stats.bytes_in),
    ("fastmesh_sent_bytes", "Bytes to clients, heads included.", True, lambda stats: stats.bytes_out),
)


def listener_families(shared: SharedMemory, registry: IdRegistry) -> Families:
    kept = [
        (labels(listener=listener), shared.listener(number))
        for (listener,), number in named(shared, registry, Kind.LISTENER, 1)
    ]
    for name, about, in_bytes, value in _LISTENER_COUNTERS:
        family = Family(name, "counter", about, "bytes" if in_bytes else "")
        yield family, used_only([(pairs, value(stats)) for pairs, stats in kept])
    yield (
        Family("fastmesh_connections", "gauge", "Open client connections."),
        [("", pairs, stats.connections) for pairs, stats in kept],
    )
    yield (
        Family("fastmesh_tls_handshakes", "counter", "TLS handshakes with clients that succeeded."),
        used_only([(pairs, stats.handshakes) for pairs, stats in kept]),
    )
    yield (
        Family("fastmesh_tls_handshakes_resumed", "counter", "Of those, with the session of an earlier connection."),
        used_only([(pairs, stats.handshakes_resumed) for pairs, stats in kept]),
    )
    yield (
        Family("fastmesh_tls_handshake_failures", "counter", "TLS handshakes with clients that failed, by cause."),
        used_only(
            (f'{pairs},cause="{cause}"', count)
            for pairs, stats in kept
            for cause, count in zip(FAILURES, stats.tls_failures, strict=True)
            if cause
        ),
    )
