"""Runs the rows: every subject of a row is started, then measured in turn, round after round, then ended."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.macro import certificates, upstream
from bench.macro.load import LoadError
from bench.macro.ports import free_ports
from bench.macro.processes import Process, ProcessError
from bench.macro.proxies import COMMANDS
from bench.macro.ready import wait_ready
from bench.macro.rows import COLUMNS, Figures, Row, Stage, Subject
from bench.macro.shapes import Place

TOTAL_TIMEOUT_S = 30 * 60


@dataclass
class Result:
    """What was measured of one subject in one row."""

    rounds: list[Figures] = field(default_factory=list)
    error: str = ""

    def median(self, figure: str) -> float | None:
        values = [each[figure] for each in self.rounds if figure in each]
        return median(values) if values else None

    def ratio(self, other: "Result", figure: str) -> float | None:
        """The median of the ratios to another subject, round by round: a machine that drifts moves both of a pair."""
        pairs = [
            (ours[figure], theirs[figure])
            for ours, theirs in zip(self.rounds, other.rounds, strict=False)
            if figure in ours and theirs.get(figure)
        ]
        return median(ours / theirs for ours, theirs in pairs) if pairs else None


Results = dict[str, dict[str, Result]]
"""By key of the row, then by name of the subject."""


@dataclass(frozen=True)
class Plan:
    """How much to measure, and where."""

    rounds: int
    seconds: int
    load_cpu: int
    proxy_cpu: int
    all_cpus: frozenset[int]


def make_plan(rounds: int, seconds: int) -> Plan:
    """The first CPU is for wrk and the upstream, the last for the proxy; with a single CPU they share it."""
    cpus = sorted(os.sched_getaffinity(0))
    return Plan(rounds, seconds, cpus[0], cpus[-1], frozenset(cpus))


class Suite:
    """A run. `results` holds what there is so far, also after an interruption."""

    def __init__(self, plan: Plan, missing: list[str]) -> None:
        self.plan = plan
        self.missing = missing
        self.results: Results = {}
        self._deadline = time.monotonic() + TOTAL_TIMEOUT_S

    def run(self, rows: tuple[Row, ...]) -> None:
        """Measure. The suite itself, wrk and the upstream stay on the load's CPU."""
        os.sched_setaffinity(0, {self.plan.load_cpu})
        try:
            with tempfile.TemporaryDirectory(prefix="fastmesh-bench-") as name:
                folder = Path(name)
                certificates.make(folder / "certificates")
                running = upstream.running(folder / "upstream", folder / "certificates", {self.plan.load_cpu})
                with running as upstreams:
                    for number, row in enumerate(rows, 1):
                        print(f"\n[{number}/{len(rows)}] {row.title}", flush=True)
                        self.run_row(row, folder, upstreams.port(row.shape))
        finally:
            os.sched_setaffinity(0, self.plan.all_cpus)

    def run_row(self, row: Row, folder: Path, upstream_port: int) -> None:
        """Measure one row over running upstreams."""
        results = self.results.setdefault(row.key, {})
        tools = [tool for tool in row.shape.tools if tool in self.missing]
        with ExitStack() as stack:
            stages = []
            for subject in row.subjects:
                result = results.setdefault(subject.name, Result())
                if subject.proxy in self.missing or tools:
                    result.error = f"{', '.join(tools)} not installed" if tools else "not installed"
                    continue
                with _noted(subject, result):
                    stages.append(self._start(row, subject, folder, upstream_port, stack))
            for number in range(1, 2 if row.once else self.plan.rounds + 1):
                for stage in stages:
                    self._measure(row, stage, results[stage.subject.name], number)

    def _start(self, row: Row, subject: Subject, folder: Path, upstream_port: int, stack: ExitStack) -> Stage:
        own = folder / row.key / f"{subject.proxy}-{subject.routes}-{subject.workers}"
        own.mkdir(parents=True)
        port, admin_port = free_ports(2)
        place = Place(
            folder=own,
            certificates=folder / "certificates",
            shape=row.shape,
            port=port,
            upstream_port=upstream_port,
            admin_port=admin_port,
            routes=subject.routes,
            workers=subject.workers,
        )
        cpus = {self.plan.proxy_cpu} if subject.workers == 1 else set(sorted(self.plan.all_cpus)[-subject.workers :])
        command = COMMANDS[subject.proxy](place)
        process = stack.enter_context(Process(subject.name, command, cpus, own / "log"))
        wait_ready(process, place)
        return Stage(subject, process, place, self.plan.seconds)

    def _measure(self, row: Row, stage: Stage, result: Result, number: int) -> None:
        if time.monotonic() > self._deadline:
            result.error = f"stopped after {TOTAL_TIMEOUT_S // 60} minutes"
            return
        with _noted(stage.subject, result):
            figures = row.measure(stage)
            result.rounds.append(figures)
            text = ", ".join(f"{value:,.1f} {COLUMNS[figure]}" for figure, value in figures.items())
            print(f"  round {number}  {stage.subject.name:24} {text}", flush=True)


@contextmanager
def _noted(subject: Subject, result: Result) -> Iterator[None]:
    """A subject that fails leaves the row with its reason; the others go on."""
    try:
        yield
    except (LoadError, ProcessError, OSError, subprocess.SubprocessError) as error:
        result.error = str(error)
        print(f"  {subject.name}: {error}", flush=True)
