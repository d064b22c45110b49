from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from fastmesh._core.histogram import BUCKETS, index
from fastmesh._core.http2_guard import ATTACKS
from fastmesh._core.reason import NAMES
from fastmesh._core.shared import SharedMemory
from fastmesh.telemetry.figures import (
    CertificateExpiry,
    ControlFigures,
    DiscoveryFigures,
    EndpointHealth,
    ServiceHealth,
)
from fastmesh.telemetry.ids import IdRegistry, Kind
from fastmesh.telemetry.metrics import Format, render

PARSERS = {Format.PROMETHEUS: parse_prometheus, Format.OPENMETRICS: parse_openmetrics}
AWKWARD = 'odd "name" \\ with\nall'
SERIES = {"listener": "web", "route": AWKWARD, "service": "hello", "subset": "version=v1"}
FIGURES = ControlFigures(
    version="0.1.0",
    snapshot_version="abc123",
    started_unix_s=1000.5,
    reloads={"applied": 3, "rejected": 0},
    last_reload_unix_s=2000.0,
    config_errors=2,
    worker_restarts=4,
    live_kinds=("connection", "exchange"),
    services=[ServiceHealth("hello", 1, 3, True)],
    endpoints=[EndpointHealth("hello", "127.0.0.1:9001", False)],
    discovery=[DiscoveryFigures("hello", 12.3456, 2)],
    certificates=[CertificateExpiry("certs/web.crt", 1_800_000_000), CertificateExpiry(AWKWARD, 1)],
    log_lines_written=11,
    log_lines_dropped=12,
)


class Scrape:
    """What a scraper sees: samples by name and labels."""

    def __init__(self, shared, registry, figures, form, **options):
        self.text = "".join(render(shared, registry, figures, form, **options))
        self.families = {family.name: family for family in PARSERS[form](self.text)}
        samples = [sample for family in self.families.values() for sample in family.samples]
        self.samples = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
        assert len(self.samples) == len(samples), "a sample stands there twice"

    def value(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())))

    def has(self, name):
        return any(key[0] == name for key in self.samples)


@pytest.fixture
def shared():
    return SharedMemory.create(2)


@pytest.fixture
def registry(shared):
    return IdRegistry(shared)


@pytest.fixture(params=Format, ids=lambda form: form.name.lower())
def scrape(request, shared, registry):
    return lambda figures=FIGURES, **options: Scrape(shared, registry, figures, request.param, **options)


def test_control_figures(scrape):
    seen = scrape()
    assert seen.value("fastmesh_build_info", version="0.1.0") == 1
    assert seen.value("fastmesh_snapshot_info", version="abc123") == 1
    assert seen.value("fastmesh_start_time_seconds") == 1000.5
    assert seen.value("fastmesh_reloads_total", outcome="applied") == 3
    assert seen.value("fastmesh_reloads_total", outcome="rejected") == 0
    assert seen.value("fastmesh_last_reload_timestamp_seconds") == 2000
    assert seen.value("fastmesh_last_applied_timestamp_seconds") == 0
    assert seen.value("fastmesh_config_errors") == 2
    assert seen.value("fastmesh_discovery_age_seconds", service="hello") == 12.346
    assert seen.value("fastmesh_discovery_errors", service="hello") == 2
    assert seen.value("fastmesh_worker_restarts_total") == 4
    assert seen.value("fastmesh_access_log_written_total") == 11
    assert seen.value("fastmesh_access_log_discarded_total") == 12
    assert seen.value("fastmesh_certificate_expiry_timestamp_seconds", certificate="certs/web.crt") == 1_800_000_000
    assert seen.value("fastmesh_certificate_expiry_timestamp_seconds", certificate=AWKWARD) == 1
    assert seen.value("fastmesh_endpoints", service="hello") == 3
    assert seen.value("fastmesh_endpoints_healthy", service="hello") == 1
    assert seen.value("fastmesh_service_panic", service="hello") == 1
    assert seen.value("fastmesh_shared_memory_bytes") > 0


def test_no_snapshot_no_info(scrape):
    assert not scrape(replace(FIGURES, snapshot_version="")).has("fastmesh_snapshot_info")


def test_series(scrape, shared, registry):
    number = registry.id_of(Kind.SERIES, tuple(SERIES.values()))
    registry.id_of(Kind.SERIES, ("web", "never", "used", ""))
    shared.add("series", 0, number, 2, 5)
    shared.add("series", 1, number, 2, 6)
    shared.add("series", 1, number, 0, 1)
    shared.add("series", 0, number, 6 + NAMES.index("rate_limited"), 7)
    shared.add("series", 0, number, 38, 1000)
    shared.add("series", 0, number, 39, 2000)
    seen = scrape()
    assert seen.value("fastmesh_requests_total", **SERIES, status_class="2xx") == 11
    assert seen.value("fastmesh_requests_total", **SERIES, status_class="none") == 1
    assert seen.value("fastmesh_requests_total", **SERIES, status_class="5xx") is None
    assert seen.value("fastmesh_failures_total", **SERIES, reason="rate_limited") == 7
    assert seen.value("fastmesh_request_body_bytes_total", **SERIES) == 1000
    assert seen.value("fastmesh_response_body_bytes_total", **SERIES) == 2000
    assert "never" not in seen.text


def test_what_has_no_id_is_counted_together(scrape, shared):
    shared.add("series", 0, 0, 4, 3)
    seen = scrape()
    assert seen.value("fastmesh_requests_total", **dict.fromkeys(SERIES, "_overflow"), status_class="4xx") == 3


def test_histograms(scrape, shared, registry):
    number = registry.id_of(Kind.SERVICE, "hello")
    registry.id_of(Kind.SERVICE, "silent")
    durations_us = (3, 20, 900, 1_500_000, 500_000_000)
    for duration_us in durations_us:
        shared.add("service", 0, number, index(duration_us), 1)
    shared.add("service", 0, number, BUCKETS, sum(durations_us))
    shared.add("service", 1, number, BUCKETS + 1 + index(100), 2)
    shared.add("service", 1, number, 2 * BUCKETS + 1, 200)
    seen = scrape()
    name = "fastmesh_request_duration_seconds"
    assert seen.families[name].type == "histogram"
    assert seen.value(f"{name}_count", service="hello") == 5
    assert seen.value(f"{name}_sum", service="hello") == pytest.approx(sum(durations_us) / 1e6)
    edges = {1.6e-05: 1, 3.2e-05: 2, 0.001024: 3, 1.048576: 3, 2.097152: 4, 134.217728: 4}
    for edge, count in edges.items():
        assert seen.value(f"{name}_bucket", service="hello", le=repr(edge)) == count
    assert seen.value(f"{name}_bucket", service="hello", le="+Inf") == 5
    assert seen.value("fastmesh_upstream_duration_seconds_count", service="hello") == 2
    assert seen.value("fastmesh_upstream_duration_seconds_bucket", service="hello", le="0.000128") == 2
    assert "silent" not in seen.text


def test_service_counters(scrape, shared, registry):
    number = registry.id_of(Kind.SERVICE, "hello")
    for place, count in enumerate((10, 20, 30, 40, 50, 60)):
        shared.add("service", 1, number, 2 * BUCKETS + 2 + place, count)
    seen = scrape()
    names = ("upstream_connects", "upstream_connect_failures", "upstream_reuses", "retries", "panic_requests")
    assert [seen.value(f"fastmesh_{name}_total", service="hello") for name in names] == [10, 20, 30, 40, 50]
    assert seen.value("fastmesh_requests_active", service="hello") == 60


def test_endpoints_are_summed_by_service_unless_asked_for(scrape, shared, registry):
    for port, connections in ((9001, 5), (9002, 7)):
        number = registry.id_of(Kind.ENDPOINT, ("hello", f"127.0.0.1:{port}"))
        for place, count in enumerate((100, 3, 2, 4, connections, 1, 1500)):
            shared.add("endpoint", 0, number, place, count)
    seen = scrape()
    assert seen.value("fastmesh_upstream_connections", service="hello") == 12
    assert seen.value("fastmesh_upstream_connections_idle", service="hello") == 2
    assert "9001" not in seen.text
    seen = scrape(by_endpoint=True)
    one = {"service": "hello", "endpoint": "127.0.0.1:9001"}
    assert seen.value("fastmesh_endpoint_requests_total", **one) == 100
    assert seen.value("fastmesh_endpoint_failures_total", **one) == 3
    assert seen.value("fastmesh_endpoint_connect_failures_total", **one) == 2
    assert seen.value("fastmesh_endpoint_requests_active", **one) == 4
    assert seen.value("fastmesh_endpoint_connections", **one) == 5
    assert seen.value("fastmesh_endpoint_connections_idle", **one) == 1
    assert seen.value("fastmesh_endpoint_ewma_seconds", **one) == 0.0015
    assert seen.value("fastmesh_endpoint_healthy", **one) == 0


def test_listeners(scrape, shared, registry):
    number = registry.id_of(Kind.LISTENER, "web")
    for place, count in enumerate((1, 2, 3, 4, 5)):
        shared.add("listener", 0, number, place, count)
    seen = scrape()
    assert seen.value("fastmesh_connections_accepted_total", listener="web") == 1
    assert seen.value("fastmesh_connections_refused_total", listener="web") == 2
    assert seen.value("fastmesh_connections", listener="web") == 3
    assert seen.value("fastmesh_received_bytes_total", listener="web") == 4
    assert seen.value("fastmesh_sent_bytes_total", listener="web") == 5


def test_workers(scrape, shared):
    for place in range(38):
        shared.add("worker", 1, 0, place, 100 + place)
    seen = scrape()
    assert seen.value("fastmesh_workers") == 1
    assert seen.value("fastmesh_worker_wakes_total", worker="1") == 104
    assert seen.value("fastmesh_worker_events_total", worker="1") == 105
    assert seen.value("fastmesh_access_log_lines_total", worker="1") == 106
    assert seen.value("fastmesh_access_log_dropped_total", worker="1") == 107
    assert seen.value("fastmesh_rate_limit_evictions_total") == 108
    assert seen.value("fastmesh_worker_buffer_bytes", worker="1") == 121
    assert seen.value("fastmesh_http2_cut_off_total", kind=ATTACKS[0]) == 109
    assert seen.value("fastmesh_http2_cut_off_total", kind=ATTACKS[11]) == 120
    assert seen.value("fastmesh_worker_live_objects", worker="1", kind="connection") == 122
    assert seen.value("fastmesh_worker_live_objects", worker="1", kind="exchange") == 123
    assert seen.value("fastmesh_worker_live_objects", worker="0", kind="exchange") is None


def test_overflowing_names_are_counted(scrape, shared, registry):
    for number in range(300):
        registry.id_of(Kind.LISTENER, str(number))
    assert scrape().value("fastmesh_ids_overflowed_total", kind="listener") == 45


def test_every_family_says_what_it_is(scrape, shared, registry):
    shared.add("series", 0, 0, 2, 1)
    shared.add("series", 0, 0, 6 + 12, 1)
    shared.add("service", 0, 0, 5, 1)
    shared.add("endpoint", 0, 0, 0, 1)
    shared.add("listener", 0, 0, 0, 1)
    for family in scrape(by_endpoint=True).families.values():
        assert family.name.startswith("fastmesh_")
        assert family.documentation.endswith(".")
        assert family.type != "unknown"


def test_ten_thousand_routes_come_in_slices(shared, registry):
    for number in range(10_000):
        id = registry.id_of(Kind.SERIES, ("web", f"route-{number}", "hello", ""))
        shared.add("series", number % 2, id, 2, 1)
        shared.add("series", number % 2, id, 39, 100)
    chunks = list(render(shared, registry, FIGURES, Format.OPENMETRICS))
    assert len(chunks) >= 40
    assert max(chunk.count("\n") for chunk in chunks) < 600
    families = {family.name: family for family in parse_openmetrics("".join(chunks))}
    assert sum(sample.value for sample in families["fastmesh_requests"].samples) == 10_000
    assert len(families["fastmesh_response_body_bytes"].samples) == 10_000
