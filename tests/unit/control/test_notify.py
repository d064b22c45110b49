"""Telling whoever started us, as systemd wants to be told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fastmesh.control.notify import VARIABLE, notify


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"\0fastmesh-test-{os.getpid()}" if abstract else str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        monkeypatch.setenv(VARIABLE, name.replace("\0", "@"))
        notify("READY=1")
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("value", ["", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_need_listen(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    notify("READY=1")
