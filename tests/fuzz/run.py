"""A mutation fuzzer of the HTTP/1 codec: deterministic by seed, guided by what each input led to.

    python tests/fuzz/run.py --seconds 30 [--target NAME] [--seed N] [--grow]

Exits 1 at the first failure; the input is then in build/fuzz/. An input that kills the process (a sanitizer
does) is there as well, under the name of its target: it is written to a mapped file before it is tried.
"""

import argparse
import hashlib
import mmap
import random
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
# Behind what PYTHONPATH says, so that a build with sanitizers is found first.
sys.path.append(str(HERE.parent.parent))

from tests.fuzz.mutate import INPUT_MAX_BYTES, mutate  # noqa: E402
from tests.fuzz.targets import SEEDS, TARGETS, Target  # noqa: E402

CORPUS = HERE / "corpus"
FAILURES = HERE.parent.parent / "build" / "fuzz"
PROGRESS_S = 5.0
POOL_MAX = 4000


class Failure(Exception):
    """A target raised; the message says where the input is."""


class Current:
    """The input that is being tried, in a file that outlives the process."""

    def __init__(self, name: str) -> None:
        FAILURES.mkdir(parents=True, exist_ok=True)
        self.path = FAILURES / f"{name}.current"
        self._file = self.path.open("w+b")
        self._file.truncate(8 + INPUT_MAX_BYTES)
        self._map = mmap.mmap(self._file.fileno(), 0)

    def set(self, data: bytes) -> None:
        data = data[:INPUT_MAX_BYTES]
        self._map[:8] = len(data).to_bytes(8, "little")
        self._map[8 : 8 + len(data)] = data

    def close(self) -> None:
        self._map.close()
        self._file.close()
        self.path.unlink()


class Fuzz:
    """One target: its pool of inputs, and what they led to."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.target: Target = TARGETS[name]
        self.chance = random.Random(f"{seed} {name}")
        self.pool: list[bytes] = []
        self.signatures: set[str] = set()
        self.tried = 0
        self.grown: list[bytes] = []

    def corpus(self) -> list[bytes]:
        kept = [path.read_bytes() for path in sorted((CORPUS / self.name).glob("*.bin"))]
        return SEEDS[self.name] + kept

    def try_input(self, data: bytes, current: Current) -> None:
        current.set(data)
        self.tried += 1
        try:
            signature = self.target(data)
        except Exception as error:
            FAILURES.mkdir(parents=True, exist_ok=True)
            path = FAILURES / f"{self.name}-{hashlib.sha256(data).hexdigest()[:16]}.bin"
            path.write_bytes(data)
            raise Failure(f"{self.name}: {error!r}\n{traceback.format_exc()}\ninput: {path}\n{data!r}") from error
        if signature not in self.signatures:
            self.signatures.add(signature)
            self.grown.append(data)
            if len(self.pool) < POOL_MAX:
                self.pool.append(data)

    def run(self, seconds: float, inputs_max: int | None = None) -> None:
        """Try the corpus, then changes of it, until the time is over or that many inputs were tried."""
        current = Current(self.name)
        begun = shown = time.monotonic()
        for data in self.corpus():
            self.try_input(data, current)
            self.pool.append(data)
        self.grown.clear()
        while inputs_max is None or self.tried < inputs_max:
            now = time.monotonic()
            if now - begun >= seconds:
                break
            if now - shown >= PROGRESS_S:
                shown = now
                print(f"{self.name}: {self.tried} inputs, {len(self.signatures)} outcomes", flush=True)
            for _ in range(100):
                self.try_input(
                    mutate(self.chance.choice(self.pool), self.chance.choice(self.pool), self.chance), current
                )
        current.close()

    def grow(self) -> None:
        """Keep the inputs that led to something new."""
        folder = CORPUS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        for data in self.grown:
            (folder / f"{hashlib.sha256(data).hexdigest()[:16]}.bin").write_bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="for all targets together")
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grow", action="store_true", help="keep inputs with new outcomes in the corpus")
    options = parser.parse_args()
    names = [options.target] if options.target else list(TARGETS)
    runs = [Fuzz(name, options.seed) for name in names]
    for each in runs:
        begun = time.monotonic()
        try:
            each.run(options.seconds / len(runs))
        except Failure as failure:
            print(f"FAILED {failure}", file=sys.stderr)
            return 1
        print(f"{each.name}: done in {time.monotonic() - begun:.1f} s", flush=True)
        if options.grow:
            each.grow()
    print(f"\n{'target':<16}{'inputs':>10}{'outcomes':>10}{'corpus':>8}")
    for each in runs:
        print(f"{each.name:<16}{each.tried:>10}{len(each.signatures):>10}{len(each.corpus()):>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
