"""Files that a configuration names: read with it, checked with it, part of its digest, and never shown."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from fastmesh.cli import check
from fastmesh.config import LoadCache, LoadResult, compile_snapshot, load
from fastmesh.config import pem_files as pem_files_module
from tests import pems
from tests.unit.config.samples import CountingIds

MESH = """\
listeners:
  web:
    address: 127.0.0.1:8443
    tls:
      certificates: {certificate: certs/web.crt, key: certs/web.key}
      client_certificate: required
      client_ca: certs/ca.crt
services:
  hello: {endpoints: [127.0.0.1:9001], tls: {ca: certs/ca.crt, certificate: certs/web.crt, key: certs/web.key}}
routes:
  hello: {to: hello}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "mesh.yaml").write_text(MESH)
    pems.write_all(tmp_path / "certs")
    return tmp_path


def messages(result: LoadResult) -> list[str]:
    return [f"{problem.line}: {problem.message}" for problem in result.problems]


def secrets(pem: bytes) -> list[str]:
    """The lines of a key, without its frame and the beginning that all keys of a kind share."""
    return pem.decode().splitlines()[2:-1]


def test_what_is_read(directory: Path) -> None:
    result = load(directory, LoadCache())
    assert result.problems == ()
    assert result.config is not None
    assert set(result.pem_files) == {"certs/web.crt", "certs/web.key", "certs/ca.crt"}
    web, ca = result.certificates.files
    assert (web.name, web.is_ca, web.names) == ("certs/web.crt", False, ("web.local", "*.web.local", "127.0.0.1"))
    assert web.used_by == ca.used_by == ("listeners.web", "services.hello")
    assert (ca.name, ca.is_ca) == ("certs/ca.crt", True)
    assert 264 < (web.validity.not_after_s - time.time()) / 86_400 < 266
    snapshot = compile_snapshot(result.config, "v", CountingIds(), {}, certificates=result.certificates)
    (certificate,) = snapshot.certificates
    assert certificate.key_pem == pems.key_pem(0)
    assert snapshot.services[0].tls is not None
    assert snapshot.services[0].tls.certificate_index == 0
    assert snapshot.services[0].tls.ca_pem == (directory / "certs/ca.crt").read_bytes()


def test_a_new_file_is_a_new_version(directory: Path) -> None:
    cache = LoadCache()
    first = load(directory, cache)
    assert load(directory, cache) is first
    pems.write_pair(directory / "certs", "web", 1)
    second = load(directory, cache)
    assert second.digest != first.digest
    assert second.certificates.files[0].names == ("web.local",)
    assert second.config is not None
    assert second.config.services["hello"] is not None
    assert load(directory, cache).digest == load(directory, LoadCache()).digest == second.digest


def test_files_that_did_not_change_are_not_parsed_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = LoadCache()
    before = load(directory, cache)
    (directory / "mesh.yaml").write_text(MESH + "# more\n")
    monkeypatch.setattr(pem_files_module, "_parsed", None)
    after = load(directory, cache)
    assert after.certificates.pairs == before.certificates.pairs
    assert after.digest != before.digest


def test_a_certificate_and_a_key_that_come_one_after_the_other(directory: Path) -> None:
    cache = LoadCache()
    load(directory, cache)
    (directory / "certs/web.crt").write_bytes(pems.certificate_pem("web.local", number=1))
    between = load(directory, cache)
    assert between.config is None
    assert messages(between) == [
        "5: listeners.web.tls.certificates[0].key: 'certs/web.key': the key does not belong to the certificate",
        "9: services.hello.tls.key: 'certs/web.key': the key does not belong to the certificate",
    ]
    (directory / "certs/web.key").write_bytes(pems.key_pem(1))
    assert load(directory, cache).problems == ()


def test_files_elsewhere(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    pems.write_pair(elsewhere, "x", 3)
    (directory / "mesh.yaml").write_text(MESH.replace("certs/web", f"{elsewhere}/x"))
    assert load(directory, LoadCache()).problems == ()


@pytest.mark.parametrize("make", ["pipe", "huge", "link", "unreadable"])
def test_what_cannot_be_read(directory: Path, make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = directory / "certs/ca.crt"
    file.unlink()
    if make == "pipe":
        os.mkfifo(file)
    elif make == "huge":
        with file.open("wb") as stream:
            stream.truncate(pem_files_module.PEM_MAX_BYTES + 1)
    elif make == "link":
        file.symlink_to("nowhere.crt")
    else:

        def refuse(*_: object) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(pem_files_module, "read_file", refuse)
    expected = {
        "pipe": "not a regular file",
        "huge": "it is larger than 4 MiB",
        "link": "no such file or directory",
        "unreadable": "permission denied",
    }[make]
    result = load(directory, LoadCache())
    assert result.config is None
    assert f"7: listeners.web.tls.client_ca: 'certs/ca.crt': the file cannot be read: {expected}" in messages(result)


def test_time_alone_brings_warnings(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = LoadCache()
    assert load(directory, cache).problems == ()
    now_s = time.time()
    for days, said in ((255, "it expires on"), (270, "it expired on"), (-200, "it is not valid before")):
        monkeypatch.setattr(time, "time", lambda days=days: now_s + days * 86_400)
        result = load(directory, cache)
        assert result.config is not None
        assert [said in problem.message for problem in result.warnings] == [
            True,
            True,
        ]  # the pair, and the CA: once each
    monkeypatch.undo()
    assert load(directory, cache).problems == ()


def test_no_key_is_shown(directory: Path) -> None:
    key = pems.key_pem(0)
    result = load(directory, LoadCache())
    assert result.config is not None
    snapshot = compile_snapshot(result.config, "v", CountingIds(), {}, certificates=result.certificates)
    shown = repr(result) + str(result.sources) + str(result.texts) + repr(snapshot)
    for secret in secrets(key):
        assert secret not in shown


SHORT_KEY = (
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ4P\nc2VjcmV0c2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n"
)


@pytest.mark.parametrize("pem", [pems.key_pem(0).decode(), SHORT_KEY], ids=["long", "short"])
@pytest.mark.parametrize("field", ["certificates", "key", "address"])
def test_a_key_in_the_wrong_place_is_not_shown(directory: Path, field: str, pem: str) -> None:
    inline = json.dumps(pem)
    key = inline if field == "key" else "certs/web.key"
    pair = f"{{certificate: certs/web.crt, key: {key}}}"
    certificates = inline if field == "certificates" else pair
    address = inline if field == "address" else "127.0.0.1:1"
    text = f"listeners:\n  web:\n    tls:\n      certificates: {certificates}\n    address: {address}\n"
    (directory / "mesh.yaml").write_text(text)
    for options in ((), ("--json",)):
        result = CliRunner().invoke(check.command, [str(directory), *options])
        assert result.exit_code == 1
        assert "BEGIN" in result.output or "the PEM itself" in result.output
        for secret in secrets(pem.encode()):
            assert secret[:20] not in result.output
