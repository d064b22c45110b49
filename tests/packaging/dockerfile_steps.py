"""The steps of a Dockerfile, run in clean root folders: a debootstrap stands in for the base image."""

import shutil
import subprocess
import time
from pathlib import Path, PurePosixPath

from tests.packaging.clean_root import (
    PATH,
    PROJECT,
    WORK,
    Failed,
    base_root,
    chroot,
    isolated,
    machine_environment,
    pass_machine_settings,
    say,
)
from tests.packaging.dockerfile import Ignored, Stage, Step, copy_words, environment, read

STAND_IN = {"python:3.11-slim-bookworm": "bookworm"}


class Build:
    """The stages built so far, each a root folder with its environment, user and working folder."""

    def __init__(self, dockerfile: Path) -> None:
        self.stages = read(dockerfile.read_text("utf-8"))
        self.ignored = Ignored.load(dockerfile.with_name(dockerfile.name + ".dockerignore"))
        self.roots: dict[str, Path] = {}
        self.machine = machine_environment()

    def run(self) -> None:
        for stage in self.stages:
            say(f"FROM {stage.base}")
            self.begin(stage)
            for step in stage.steps:
                started = time.monotonic()
                self.step(stage, step)
                say(f"{time.monotonic() - started:6.1f} s  {step}")

    def begin(self, stage: Stage) -> None:
        if stage.base not in STAND_IN:
            raise Failed(f"nothing stands in for {stage.base}; known: {', '.join(STAND_IN)}")
        root = WORK / f"stage-{stage.name}"
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base_root(STAND_IN[stage.base]), root], check=True)
        pass_machine_settings(root)
        self.roots[stage.name] = self.root = root
        self.env, self.user, self.folder = {"PATH": PATH, "HOME": "/root"}, "root", "/"

    def step(self, stage: Stage, step: Step) -> None:
        if step.word == "RUN":
            self.shell(step)
        elif step.word == "COPY":
            self.copy(step)
        elif step.word == "ENV":
            self.env |= environment(step, self.env)
        elif step.word == "WORKDIR":
            self.folder = str(PurePosixPath(self.folder, step.text))
            self.inside(self.folder).mkdir(parents=True, exist_ok=True)
        elif step.word == "USER":
            self.user = step.text

    def shell(self, step: Step) -> None:
        arguments = chroot(self.root, ["sh", "-c", step.text], self.machine | self.env, self.user, self.folder)
        done = subprocess.run(
            [*isolated(self.root), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise Failed(f"line {step.line}: {step}\nended with status {done.returncode}:\n{done.stdout[-4000:]}")

    def inside(self, place: str) -> Path:
        return self.root / str(PurePosixPath("/", self.folder, place)).lstrip("/")

    def copy(self, step: Step) -> None:
        stage, sources, destination = copy_words(step)
        start = self.roots[stage] if stage else PROJECT
        into_folder = destination.endswith("/") or len(sources) > 1
        for source in sources:
            origin = start / source.lstrip("/")
            if not origin.exists() or (not stage and self.ignored(PurePosixPath(source))):
                raise Failed(f"line {step.line}: {source} is not there to copy")
            place = (
                self.inside(destination) / origin.name if into_folder and origin.is_file() else self.inside(destination)
            )
            place.parent.mkdir(parents=True, exist_ok=True)
            if origin.is_file():
                shutil.copy2(origin, place)
            else:
                shutil.copytree(
                    origin, place, symlinks=True, dirs_exist_ok=True, ignore=None if stage else self.leave_out
                )

    def leave_out(self, folder: str, names: list[str]) -> set[str]:
        return {name for name in names if self.ignored(PurePosixPath(folder, name).relative_to(PROJECT))}
