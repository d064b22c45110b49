"""`python -m bench.macro`: run the suite, print it, and write RESULTS.md, results.json and the charts."""

import argparse
import resource
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from bench.macro import install, report
from bench.macro.charts import chart
from bench.macro.processes import ProcessError
from bench.macro.rows import Row, all_rows
from bench.macro.shapes import CONNECTIONS_MAX
from bench.macro.suite import Plan, Suite, make_plan

BENCH = Path(__file__).resolve().parent.parent
FULL_ROUNDS, FULL_SECONDS = 5, 3


def arguments() -> argparse.Namespace:
    keys = ", ".join(row.key for row in all_rows())
    parser = argparse.ArgumentParser(prog="python -m bench.macro", description="fastmesh side by side with its peers.")
    parser.add_argument("--only", action="append", metavar="ROW", help=f"measure only this row; again for more: {keys}")
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS, help="rounds; medians are reported (default: 5)")
    parser.add_argument("--seconds", type=int, default=FULL_SECONDS, help="length of one measurement (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round of a second: to see that everything works")
    parser.add_argument("--no-install", action="store_true", help="install nothing; go on without what is missing")
    chosen = parser.parse_args()
    unknown = set(chosen.only or ()) - {row.key for row in all_rows()}
    if unknown:
        parser.error(f"unknown row {', '.join(sorted(unknown))}; rows: {keys}")
    if not (1 <= chosen.rounds <= 50 and 1 <= chosen.seconds <= 60):
        parser.error("rounds must be between 1 and 50, seconds between 1 and 60")
    return chosen


def raise_descriptor_limit() -> None:
    """Thousands of connections need as many descriptors; children inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX if hard == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def write(rows: tuple[Row, ...], suite: Suite, plan: Plan) -> None:
    (BENCH / "charts").mkdir(exist_ok=True)
    (BENCH / "RESULTS.md").write_text(report.markdown(rows, suite.results, plan))
    (BENCH / "results.json").write_text(report.raw(suite.results, plan))
    for row in rows:
        (BENCH / "charts" / f"{row.key}.svg").write_text(chart(row, suite.results))
    print("\nWritten: bench/RESULTS.md, bench/results.json, bench/charts/")


def main() -> int:
    chosen = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    raise_descriptor_limit()
    missing = install.missing()
    if missing and not chosen.no_install:
        print(f"Installing {', '.join(missing)}:", flush=True)
        missing = install.install(missing)
    if missing:
        print(install.explain(missing), file=sys.stderr)
        if set(missing) & set(install.REQUIRED):
            return 1
    plan = make_plan(1, 1) if chosen.quick else make_plan(chosen.rounds, chosen.seconds)
    rows = tuple(row for row in all_rows() if not chosen.only or row.key in chosen.only)
    suite = Suite(plan, missing)
    began = time.monotonic()
    interrupted = False
    try:
        suite.run(rows)
    except KeyboardInterrupt:
        interrupted = True
        print("\nInterrupted: this is what was measured so far.")
    except ProcessError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for row in rows:
        print(f"\n{row.title}\n{report.row_table(row, suite.results)}")
    print(f"\n{report.verdict_table(rows, suite.results)}\n\n{time.monotonic() - began:.0f} s")
    # Only a whole run is worth keeping.
    if not (interrupted or chosen.only or chosen.quick):
        write(rows, suite, plan)
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
