"""What tables and diagrams of the documentation say of the code is what stands there; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastmesh._core.access_template import FIELDS, OPTIONAL
from fastmesh._core.http2_guard import ATTACKS
from fastmesh._core.reason import NAMES, STATUSES
from fastmesh._core.tls import FAILURES
from tests.architecture.sources import ROOT

DOCS = ROOT / "docs"
CORE = ROOT / "fastmesh/_core"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "bench/README.md"]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]*)\)")
NEVER_GIVEN = {"draining"}


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(file: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(file.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, up to the next one, without those of their heads."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, heading
    lines = [line for line in section[1].splitlines() if line.startswith("| `") or line.startswith("| [`")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def arrows(text: str, number: int) -> set[tuple[str, str, str]]:
    """From, to and event of each arrow of a state diagram, without beginning and end."""
    diagram = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", text, re.DOTALL)[number]
    return set(re.findall(r"^ +(\w+) --> (\w+): (.+)$", diagram, re.MULTILINE))


def enum_names(prefix: str, file: str = "live.pxd") -> list[str]:
    return re.findall(rf"^    {prefix}_(\w+) = \d+", (CORE / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    for link in LINK.findall(without_code(file.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), link
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), link


def test_the_states_of_a_connection() -> None:
    found = arrows(page("life-of-a-request.md"), 0)
    named = {state for one, other, _ in found for state in (one, other)}
    assert named == set(enum_names("CONNECTION"))


def test_the_states_of_a_stream() -> None:
    events = ["begins", "local ends", "remote ends", "resets"]
    table = re.findall(r"^NEXT\[HTTP2_(\w+)\] = \[(.+)\]$", (CORE / "http2_streams.pyx").read_text(), re.MULTILINE)
    assert len(table) == 5
    written = {
        (state, following.removeprefix("HTTP2_"), event)
        for state, line in table
        for event, following in zip(events, line.split(", "), strict=True)
        if following != f"HTTP2_{state}"
    }
    assert arrows(page("life-of-a-request.md"), 1) == written


def test_every_reason() -> None:
    documented = {name.strip("`"): status for name, status, *_ in rows(page("operations.md"), "When a request fails")}
    given = {
        name: str(status) if status else "–"
        for name, status in zip(NAMES, STATUSES, strict=True)
        if name and name not in NEVER_GIVEN
    }
    assert documented == given


def test_every_cause_of_a_failed_handshake() -> None:
    documented = [cells[0].strip("`") for cells in rows(page("operations.md"), "TLS for what ran without it")]
    assert documented == [name for name in FAILURES if name]


def test_every_field_of_the_access_log() -> None:
    text = page("operations.md")
    always = re.search(r"has these fields always: (.+)\. And", text)
    assert always
    assert re.findall(r"`(\w+)`", always[1]) == [name for name in FIELDS if name not in OPTIONAL]
    sometimes = [name for cells in rows(text, "The access log") for name in re.findall(r"`(\w+)`", cells[0])]
    assert sometimes == [name for name in FIELDS if name in OPTIONAL]


def test_every_flood_and_its_number() -> None:
    source = (CORE / "http2_guard.pyx").read_text()
    most = {
        kind: number.replace("0", "", number == "0")
        for kind, number in re.findall(r'kind_t\(b"(\w+)", (\d+)\)', source)
    }
    documented = {cells[0].strip("`"): cells[2] for cells in rows(page("threat-model.md"), "Floods of HTTP/2")}
    assert tuple(documented) == ATTACKS
    assert documented == most


def test_defaults_are_those_of_the_configuration() -> None:
    reference = page("configuration.md")
    found = [cells for cells in rows(page("protocols.md"), "Limits and defaults") if cells[0].startswith("[")]
    assert len(found) > 20
    for cells in found:
        setting = re.fullmatch(r"\[`(?:\w+\.)?(\w+)`\]\(configuration\.md#(\w+)\)", cells[0])
        assert setting, cells
        heading = next(
            heading for heading in re.findall(r"^## (\w+)$", reference, re.MULTILINE) if heading.lower() == setting[2]
        )
        defaults = {row[0].strip("`"): row[2] for row in rows(reference, heading)}
        assert defaults[setting[1]] == cells[1], cells


def test_what_is_fixed_is_what_the_code_has() -> None:
    section = page("protocols.md").split("What is fixed:")[1]
    found = re.findall(r"^\| .+ \| (\d+) \| `(\w+)` \|$", section, re.MULTILINE)
    assert len(found) > 15
    sources = "\n".join(file.read_text() for file in (*CORE.glob("*.pxd"), *CORE.glob("*.pyx")))
    for number, name in found:
        assert number in re.findall(rf"^    {name} = (\d+)\b", sources, re.MULTILINE), name


def test_every_module_of_the_core_is_in_the_architecture() -> None:
    named = set(re.findall(r"`(\w+)`", page("architecture.md")))
    modules = {file.stem for file in CORE.glob("*.pyx")}
    assert modules - named == set()


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", page("decisions/README.md"))
    assert listed == sorted(file.name for file in (DOCS / "decisions").glob("0*.md"))
