import pytest

from fastmesh.telemetry.exposition import LINES_A_CHUNK, Family, Format, labels, negotiate, single, write

COUNTER = Family("fastmesh_things", "counter", "Things.\nAnd more.")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.PROMETHEUS),
        ("*/*", Format.PROMETHEUS),
        ("text/plain", Format.PROMETHEUS),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", Format.OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format.OPENMETRICS,
        ),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", Format.PROMETHEUS),
        ("application/openmetrics-text;q=0", Format.PROMETHEUS),
        ("application/openmetrics-text;q=nonsense", Format.PROMETHEUS),
        (",;,=;q", Format.PROMETHEUS),
    ],
)
def test_negotiate(accept, expected):
    assert negotiate(accept) is expected


def test_labels_are_escaped():
    assert labels(route='a"b\\c\nd', service="é") == 'route="a\\"b\\\\c\\nd",service="é"'


def test_prometheus_text():
    text = "".join(write([(COUNTER, single(3, 'a="b"'))], Format.PROMETHEUS))
    assert text == (
        "# HELP fastmesh_things_total Things.\\nAnd more.\n# TYPE fastmesh_things_total counter\n"
        'fastmesh_things_total{a="b"} 3\n'
    )


def test_openmetrics():
    family = Family("fastmesh_size_bytes", "gauge", "Size.", "bytes")
    text = "".join(write([(COUNTER, single(3)), (family, single(1.5))], Format.OPENMETRICS))
    assert text == (
        "# TYPE fastmesh_things counter\n# HELP fastmesh_things Things.\\nAnd more.\nfastmesh_things_total 3\n"
        "# TYPE fastmesh_size_bytes gauge\n# UNIT fastmesh_size_bytes bytes\n# HELP fastmesh_size_bytes Size.\n"
        "fastmesh_size_bytes 1.5\n# EOF\n"
    )


def test_families_without_samples_are_left_out():
    assert "".join(write([(COUNTER, [])], Format.PROMETHEUS)) == ""
    assert "".join(write([(COUNTER, [])], Format.OPENMETRICS)) == "# EOF\n"


@pytest.mark.parametrize("form", Format)
def test_chunks_are_bounded_and_never_empty(form):
    samples = [("", labels(n=str(n)), n) for n in range(5 * LINES_A_CHUNK - 1)]
    chunks = list(write([(COUNTER, samples), (COUNTER, [])], form))
    assert len(chunks) in (5, 6)
    assert all(0 < chunk.count("\n") <= LINES_A_CHUNK + 3 for chunk in chunks)
    assert "".join(chunks).count("\nfastmesh_things_total{") == len(samples)


def test_samples_are_read_as_the_chunks_are_taken():
    taken = []

    def samples():
        for n in range(3 * LINES_A_CHUNK):
            taken.append(n)
            yield "", "", n

    chunks = write([(COUNTER, samples())], Format.PROMETHEUS)
    assert taken == []
    next(chunks)
    assert len(taken) <= LINES_A_CHUNK
