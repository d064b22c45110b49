"""Reading a Dockerfile: the part of the language that ours uses; anything else is an error, not a guess."""

import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

KNOWN = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


class DockerfileError(Exception):
    """The Dockerfile says something that this reader does not know."""


@dataclass(frozen=True)
class Step:
    line: int
    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.word} {self.text}"


@dataclass
class Stage:
    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, word: str) -> Step | None:
        return next((step for step in reversed(self.steps) if step.word == word), None)


def read(text: str) -> list[Stage]:
    stages: list[Stage] = []
    for step in instructions(text):
        if step.word not in KNOWN:
            raise DockerfileError(f"line {step.line}: {step.word} is not known here")
        if step.word == "FROM":
            match = re.fullmatch(r"(\S+)(?:\s+AS\s+(\S+))?", step.text, re.IGNORECASE)
            if not match:
                raise DockerfileError(f"line {step.line}: FROM {step.text} is not understood")
            stages.append(Stage(match[1], match[2] or str(len(stages))))
        elif not stages:
            raise DockerfileError(f"line {step.line}: {step.word} before the first FROM")
        else:
            stages[-1].steps.append(step)
    return stages


def instructions(text: str) -> list[Step]:
    steps: list[Step] = []
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not pending and not line.strip()):
            continue
        start = start if pending else number
        pending += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        word, _, rest = pending.strip().partition(" ")
        steps.append(Step(start, word.upper(), rest.strip()))
        pending = ""
    return steps


def environment(step: Step, known: dict[str, str]) -> dict[str, str]:
    """ENV: `A=1 B=$A:2`; variables take the values from before the step."""
    found = {}
    for pair in shlex.split(step.text):
        name, equals, value = pair.partition("=")
        if not equals:
            raise DockerfileError(f"line {step.line}: ENV {pair} has no value")
        found[name] = re.sub(r"\$\{?(\w+)\}?", lambda match: known.get(match[1], ""), value)
    return found


def command(step: Step) -> list[str]:
    """ENTRYPOINT, CMD and the command of HEALTHCHECK: the JSON form, which needs no shell."""
    text = step.text
    if step.word == "HEALTHCHECK":
        text = re.sub(r"^(--\S+\s+)*CMD\s+", "", text)
    try:
        words = json.loads(text)
    except ValueError as error:
        raise DockerfileError(f"line {step.line}: write {step.word} as a JSON list") from error
    return [str(word) for word in words]


def copy_words(step: Step) -> tuple[str | None, list[str], str]:
    """COPY: the stage it copies from, or None for the project; the sources; the destination."""
    words = shlex.split(step.text)
    stage = None
    while words[0].startswith("--"):
        option, _, value = words.pop(0).partition("=")
        if option != "--from":
            raise DockerfileError(f"line {step.line}: COPY {option} is not known here")
        stage = value
    if len(words) < 2:
        raise DockerfileError(f"line {step.line}: COPY needs a source and a destination")
    return stage, words[:-1], words[-1]


@dataclass(frozen=True)
class Ignored:
    """A .dockerignore: the last pattern that matches a path, or a folder above it, decides."""

    patterns: tuple[str, ...]

    @classmethod
    def load(cls, file: Path) -> "Ignored":
        lines = (line.strip() for line in file.read_text("utf-8").splitlines())
        return cls(tuple(line for line in lines if line and not line.startswith("#")))

    def __call__(self, path: PurePosixPath) -> bool:
        ignored = False
        for pattern in self.patterns:
            wanted = pattern.removeprefix("!")
            if any(matches(wanted, place) for place in (path, *path.parents) if place != PurePosixPath()):
                ignored = not pattern.startswith("!")
        return ignored


def matches(pattern: str, path: PurePosixPath) -> bool:
    if pattern.startswith("**/"):
        tail = pattern[3:].split("/")
        return len(path.parts) >= len(tail) and all(map(fnmatchcase, path.parts[-len(tail) :], tail))
    wanted = pattern.split("/")
    return len(wanted) == len(path.parts) and all(map(fnmatchcase, path.parts, wanted))
