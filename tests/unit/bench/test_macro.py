"""The parts of the macro bench that can be wrong without anybody noticing."""

import json
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench.macro.charts import chart
from bench.macro.load import LoadError, parse_wrk
from bench.macro.processes import Process, ProcessError, spent_ns
from bench.macro.report import judge, markdown, raw, row_table, verdict_table
from bench.macro.rows import FASTMESH, HAPROXY, NGINX, Bar, Row, all_rows
from bench.macro.suite import Result, Results, make_plan

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
    assert (result.requests, result.seconds, result.p50_us, result.p99_us) == (199_062, 3.0, 940.0, 2080.0)


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
