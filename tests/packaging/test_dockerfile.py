"""The reader of Dockerfiles, and what ours promises without being run."""

from pathlib import Path, PurePosixPath

import pytest
import yaml

from tests.packaging.dockerfile import DockerfileError, Ignored, Step, command, copy_words, environment, read

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


def test_stages_and_continued_lines() -> None:
    first, second = read("# a\nFROM one AS build\nRUN a \\\n  # why\n  && b\nFROM two\nCOPY --from=build /a /b c/\n")
    assert (first.base, first.name, second.base, second.name) == ("one", "build", "two", "1")
    assert first.steps == [Step(3, "RUN", "a   && b")]
    assert copy_words(second.steps[0]) == ("build", ["/a", "/b"], "c/")


@pytest.mark.parametrize("text", ["RUN a", "FROM a\nADD a b", "FROM", "FROM a b c"])
def test_what_it_does_not_know_is_an_error(text: str) -> None:
    with pytest.raises(DockerfileError, match="line"):
        read(text)


def test_a_copy_option_that_it_does_not_know_is_an_error() -> None:
    with pytest.raises(DockerfileError, match="--chown"):
        copy_words(Step(1, "COPY", "--chown=a b c"))


def test_environment_and_commands() -> None:
    step = Step(1, "ENV", 'PATH=/opt/bin:$PATH A="b c" C=${PATH}')
    assert environment(step, {"PATH": "/bin"}) == {"PATH": "/opt/bin:/bin", "A": "b c", "C": "/bin"}
    assert command(Step(1, "HEALTHCHECK", '--interval=5s --retries=3 CMD ["a", "b c"]')) == ["a", "b c"]
    with pytest.raises(DockerfileError, match="JSON"):
        command(Step(1, "CMD", "fastmesh run"))


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("fastmesh/snapshot.py", False),
        ("fastmesh/_core/engine.pyx", False),
        ("fastmesh/_core/engine.cpython-311-x86_64-linux-gnu.so", True),
        ("fastmesh/__pycache__/a.pyc", True),
        ("setup.py", False),
        (".venv/bin/python", True),
        ("build/objects", True),
        ("config/mesh.yaml", True),
    ],
)
def test_our_build_sees_the_sources_and_nothing_else(path: str, ignored: bool) -> None:
    assert Ignored.load(DOCKER / "Dockerfile.dockerignore")(PurePosixPath(path)) is ignored


def test_our_image_is_not_root_and_has_a_health_check() -> None:
    image = read((DOCKER / "Dockerfile").read_text("utf-8"))[-1]
    user = image.last("USER")
    assert user and user.text not in ("root", "0")
    assert image.last("HEALTHCHECK")


def test_compose_puts_two_services_behind_the_mesh() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["services"]
    mesh = yaml.safe_load((DOCKER / "mesh/mesh.yaml").read_text("utf-8"))
    assert set(mesh["services"]) == set(services) - {"mesh"}
    assert len(mesh["services"]) == 2
    assert (DOCKER / services["mesh"]["build"]["context"] / services["mesh"]["build"]["dockerfile"]).exists()
