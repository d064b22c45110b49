"""The parts of the macro bench that can be wrong without anybody noticing."""

import json
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench.macro.charts import chart
from bench.macro.install import explain
from bench.macro.load import LoadError, parse_h2load, parse_wrk
from bench.macro.processes import Process, ProcessError, spent_ns
from bench.macro.report import judge, markdown, raw, row_table, verdict_table
from bench.macro.rows import FASTMESH, HAPROXY, NGINX, Bar, Row, all_rows
from bench.macro.suite import Result, Results, Suite, make_plan

WRK = """\
Running 3s test @ http://127.0.0.1:8080/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.97ms  312.41us   6.02ms   85.53%
    Req/Sec    66.62k     3.10k   71.96k    80.00%
  Latency Distribution
     50%  940.00us
     75%    1.05ms
     90%    1.24ms
     99%    2.08ms
  199062 requests in 3.00s, 54.68MB read
Requests/sec:  66280.76
Transfer/sec:     18.21MB
"""

H2LOAD = """\
starting benchmark...
Warm-up started for thread #0.
progress: 100% of clients started
Warm-up phase is over for thread #0.
Main benchmark duration is started for thread #0.
Application protocol: h2c
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 1.00s, 334448.00 req/s, 17.55MB/s
requests: 334448 total, 334576 started, 334448 done, 334448 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 334448 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 17.55MB (18398504) total, 2.23MB (2342120) headers (space savings 96.19%), 6.38MB (6688960) data
                     min         max         mean         sd        +/- sd
time for request:       81us      1.84ms       355us       129us    89.93%
time for connect:       66us       247us       161us        61us    62.50%
time to 1st byte:      858us      1.84ms      1.64ms       321us    87.50%
req/s           :   41721.10    41877.95    41798.71       53.04    75.00%
"""

H2LOAD_REFUSED = """\
finished in 1.00s, 0.00 req/s, 0B/s
requests: 0 total, 0 started, 0 done, 0 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 0B (0) total, 0B (0) headers (space savings 0.00%), 0B (0) data
                     min         max         mean         sd        +/- sd
time for request:        0us         0us         0us         0us     0.00%
time for connect:        0us         0us         0us         0us     0.00%
time to 1st byte:        0us         0us         0us         0us     0.00%
req/s           :       0.00        0.00        0.00        0.00   100.00%
"""

H2LOAD_NOT_FOUND = """\
finished in 2.00s, 230256.00 req/s, 41.07MB/s
requests: 230256 total, 230256 started, 230256 done, 0 succeeded, 230256 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 230256 4xx, 0 5xx
traffic: 41.07MB (43059824) total, 4.78MB (5015200) headers (space savings 92.25%), 64.34MB (67464320) data
                     min         max         mean         sd        +/- sd
time for request:      111us      1.87ms       534us        86us    84.69%
time for connect:        0us         0us         0us         0us     0.00%
time to 1st byte:        0us         0us         0us         0us     0.00%
req/s           :   28681.06    28859.78    28777.45       55.27    75.00%
"""


def measured(**figures: list[float]) -> Results:
    names = {"fastmesh": FASTMESH, "nginx": NGINX, "haproxy": HAPROXY}
    return {
        "small": {
            names[key].name: Result([{"cpu_us": value, "requests_s": 1e6 / value} for value in values])
            for key, values in figures.items()
        }
    }


def small_row() -> Row:
    return next(row for row in all_rows() if row.key == "small")


def test_wrk_report() -> None:
    result = parse_wrk(WRK)
    assert (result.requests, result.seconds) == (199_062, 3.0)
    assert result.latency == {"p50_us": 940.0, "p99_us": 2080.0}


@pytest.mark.parametrize(
    "text",
    [
        WRK + "  Non-2xx or 3xx responses: 12\n",
        WRK + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
        WRK.replace("199062", "0"),
        "unable to connect to 127.0.0.1:8080 Connection refused\n",
    ],
)
def test_failed_load_is_no_measurement(text: str) -> None:
    with pytest.raises(LoadError):
        parse_wrk(text)


def test_h2load_report() -> None:
    result = parse_h2load(H2LOAD)
    assert (result.requests, result.seconds) == (334_448, 1.0)
    assert result.latency == {"mean_us": 355.0, "max_us": 1840.0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (H2LOAD_REFUSED, "completed no request"),
        (H2LOAD_NOT_FOUND, "230256 4xx"),
        (H2LOAD.replace("334448 2xx, 0 3xx", "334447 2xx, 1 3xx"), "1 3xx"),
        (H2LOAD.replace("0 errored", "16 errored"), "16 errored"),
        ("h2load: unrecognized option '--no-such'\n", "reports nothing"),
    ],
)
def test_failed_http2_load_is_no_measurement(text: str, reason: str) -> None:
    with pytest.raises(LoadError, match=reason):
        parse_h2load(text)


@pytest.mark.parametrize(
    ("bar", "ours", "passed"),
    [
        (Bar("cpu_us", 0.75, (NGINX,)), 9.0, True),
        (Bar("cpu_us", 0.75, (NGINX,)), 9.1, False),
        (Bar("cpu_us", 1.0, (NGINX, HAPROXY)), 10.1, False),  # the better of the two: 10
        (Bar("cpu_us", 9.5), 9.4, True),
        (Bar("cpu_us", 9.5), 9.6, False),
        (Bar("requests_s", 1.2, (NGINX,), at_least=True), 10.0, True),
        (Bar("requests_s", 1.3, (NGINX,), at_least=True), 10.0, False),
    ],
)
def test_bars_judge_medians(bar: Bar, ours: float, passed: bool) -> None:
    results = measured(fastmesh=[1.0, ours, 150.0], nginx=[12.0, 12.0, 90.0], haproxy=[10.0, 10.0, 10.0])
    assert judge(bar, small_row(), results).passed is passed


def test_a_bar_pairs_what_was_measured_in_one_round() -> None:
    # The machine became twice as slow: the medians say 0.6 or 1.5, each round says 0.75.
    results = measured(fastmesh=[9.0, 9.0, 18.0, 18.0, 18.0], nginx=[12.0, 12.0, 24.0, 24.0, 24.0])
    del results["small"][NGINX.name].rounds[3:]
    verdict = judge(Bar("cpu_us", 0.75, (NGINX,)), small_row(), results)
    assert verdict.passed
    assert verdict.measured.endswith("by rounds 0.75")


def test_bars_without_measurements_are_neither_passed_nor_failed() -> None:
    bar = Bar("cpu_us", 0.75, (NGINX,))
    assert judge(bar, small_row(), measured(fastmesh=[9.0])).passed is None
    assert judge(bar, small_row(), measured(nginx=[9.0])).passed is None
    assert judge(bar, small_row(), {}).passed is None
    assert "not measured" in verdict_table((small_row(),), {})


def test_a_failure_in_any_round_fails_the_bar() -> None:
    results = measured(fastmesh=[1.0], nginx=[12.0])
    results["small"][FASTMESH.name].error = "Non-2xx or 3xx responses: 1"
    verdict = judge(Bar("cpu_us", 0.75, (NGINX,)), small_row(), results)
    assert (verdict.passed, verdict.measured) == (False, "Non-2xx or 3xx responses: 1")


def test_what_could_not_start_is_not_measured_and_says_why() -> None:
    results = measured(nginx=[12.0])
    results["small"] = {FASTMESH.name: Result(error="ended with status 1:\na | b"), **results["small"]}
    verdict = judge(Bar("cpu_us", 0.75, (NGINX,)), small_row(), results)
    assert (verdict.passed, verdict.measured) == (None, "ended with status 1: a \\| b")
    assert "- fastmesh: ended with status 1" in row_table(small_row(), results)
    assert "not measured" in chart(small_row(), results)
    assert "ended with status 1" in markdown((small_row(),), results, make_plan(1, 1))


def test_bars_are_held_against_subjects_of_their_row() -> None:
    for row in all_rows():
        assert {bar.subject for bar in row.bars} | {each for bar in row.bars for each in bar.against} <= {*row.subjects}
        assert row.figure in {bar.figure for bar in row.bars}


def test_rows_without_their_tools_name_them(tmp_path: Path) -> None:
    suite = Suite(make_plan(1, 1), ["nghttpd", "h2load"])
    row = next(row for row in all_rows() if row.key == "grpc")
    suite.run_row(row, tmp_path, 1)
    assert {result.error for result in suite.results["grpc"].values()} == {"h2load, nghttpd not installed"}
    assert "apt-get install nghttp2-server nghttp2-client" in explain(suite.missing)


def test_tables_show_figures_ratios_and_errors() -> None:
    results = measured(fastmesh=[9.0], nginx=[12.0])
    results["small"][HAPROXY.name] = Result(error="not installed")
    lines = row_table(small_row(), results).splitlines()
    assert "| nginx | 12.0 | 83,333.3 | 0.75 |" in lines
    assert "- HAProxy: not installed" in lines
    assert "9.0 / 12.0, by rounds 0.75 | ✅ pass" in verdict_table((small_row(),), results)


def test_report_holds_every_row_and_every_round() -> None:
    results, plan = measured(fastmesh=[9.0, 8.5], nginx=[12.0]), make_plan(2, 3)
    text = markdown(all_rows(), results, plan)
    assert all(f"## {row.title}\n" in text and f"charts/{row.key}.svg" in text for row in all_rows())
    assert "medians of 2 rounds of 3 s" in text
    rounds = json.loads(raw(results, plan))["rows"]["small"]["fastmesh"]["rounds"]
    assert [each["cpu_us"] for each in rounds] == [9.0, 8.5]


def test_chart_is_svg_with_proportional_bars() -> None:
    svg = ElementTree.fromstring(chart(small_row(), measured(fastmesh=[9.0], nginx=[12.0], haproxy=[])))
    widths = [float(rect.attrib["width"]) for rect in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[0] == pytest.approx(widths[1] * 9 / 12, abs=0.1)
    assert widths[2] == 0
    assert "not measured" in "".join(svg.itertext())


PARENT = """\
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"])
while True:
    pass
"""


def test_process_measures_its_children_and_ends_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Process("busy", [sys.executable, "-c", PARENT], os.sched_getaffinity(0), log) as process:
        while "ready" not in log.read_text():
            process.pids()
        pids = process.pids()
        assert len(pids) == 2
        before = process.cpu_ns()
        while spent_ns(before, process.cpu_ns(), "busy") < 10_000_000:
            pass
        assert process.pss_bytes() > 3 << 20
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_process_that_ends_early_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    expected = pytest.raises(ProcessError, match="short ended with status 1: no such setting")
    with Process("short", command, os.sched_getaffinity(0), tmp_path / "log") as process, expected:
        while True:
            process.pids()


def test_processes_that_come_and_go_are_not_compared() -> None:
    with pytest.raises(ProcessError, match="changed"):
        spent_ns({1: 10}, {1: 20, 2: 5}, "proxy")
