"""The corpus of the fuzzer replayed, and a short run of it."""

from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.run import Failure, Fuzz
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus_and_some_changes_of_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "FAILURES", tmp_path)
    fuzz = Fuzz(name, seed=1)
    fuzz.run(seconds=20.0, inputs_max=len(fuzz.corpus()) + 400)
    assert fuzz.tried >= len(fuzz.corpus())
    assert len(fuzz.signatures) >= 4
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> str:
        assert b"\x00" not in data
        return "fine"

    monkeypatch.setattr(run, "FAILURES", tmp_path)
    monkeypatch.setitem(TARGETS, "chunked", broken)
    with pytest.raises(Failure, match="chunked"):
        Fuzz("chunked", seed=1).run(seconds=20.0)
    (kept,) = tmp_path.glob("*.bin")
    assert b"\x00" in kept.read_bytes()
