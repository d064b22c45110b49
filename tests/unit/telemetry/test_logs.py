import json
import logging
import sys

import pytest

from fastmesh.telemetry import logs


@pytest.fixture(autouse=True)
def restored():
    root, own = logging.getLogger(), logging.getLogger("fastmesh")
    handlers, level = root.handlers[:], own.level
    yield
    root.handlers[:] = handlers
    own.setLevel(level)


def test_text(capsys):
    logs.configure()
    extra = {"errors": 3, "path": "a b", "empty": ""}
    logging.getLogger("fastmesh.control.watch").info("reload %s", "rejected", extra=extra)
    moment, rest = capsys.readouterr().err.split(" ", 1)
    assert moment.endswith("Z") and "T" in moment
    assert rest == 'info    control.watch: reload rejected errors=3 path="a b" empty=""\n'


def test_json(capsys):
    logs.configure(form="json")
    logging.getLogger("fastmesh.app").warning("é %d", 5, extra={"worker": 1, "path": sys})
    parsed = json.loads(capsys.readouterr().err)
    assert parsed.pop("time").endswith("Z")
    assert parsed == {"level": "warning", "logger": "fastmesh.app", "message": "é 5", "worker": 1, "path": str(sys)}


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_ends_a_line_before_its_end(capsys, form):
    logs.configure(form=form)
    log = logging.getLogger("fastmesh.x")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("a\nb\r\x1b[31m\u2028c", extra={"field": "x\ny"})
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert "ValueError: two" in text


def test_levels_change_at_run_time(capsys):
    logs.configure("warning")
    log = logging.getLogger("fastmesh.x")
    log.info("one")
    assert logs.level() == "warning"
    logs.set_level("debug")
    log.debug("two")
    assert logs.level() == "debug"
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == ["two"]


def test_an_unknown_level_changes_nothing():
    logs.configure("error")
    with pytest.raises(ValueError, match="'loud': there are debug, info, warning, error"):
        logs.set_level("loud")
    assert logs.level() == "error"


def test_configured_twice_writes_once(capsys):
    logs.configure()
    logs.configure(form="json")
    logging.getLogger("fastmesh.x").info("one")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_others_begin_at_warning(capsys):
    logs.configure("debug")
    logging.getLogger("asyncio").info("no")
    logging.getLogger("asyncio").warning("yes")
    assert capsys.readouterr().err.endswith("warning asyncio: yes\n")
