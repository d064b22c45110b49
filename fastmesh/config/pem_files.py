"""The PEM files that listeners and services name: read with the configuration, checked with it, part of its digest.

Nothing here shows what is in a file: keys are among them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from fastmesh.config.files import read_file
from fastmesh.config.problem import Problem, Severity, did_you_mean, quoted
from fastmesh.config.reading import FAILED, dotted

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Iterator

    from fastmesh.config.load import Item, Items
    from fastmesh.config.reading import Path
    from fastmesh.config.schema import Listener, Service
    from fastmesh.identity.certificates import Bundle, Pair, PemError
    from fastmesh.identity.validity import Validity

PEM_MAX_BYTES = 4 << 20
NEIGHBOURS_MAX = 1000  # among which a name is looked for that was perhaps meant


class PemFile(Struct, frozen=True, gc=False):
    """What a file holds, or why it could not be read."""

    content: bytes
    error: str = ""
    hint: str = ""

    def __repr__(self) -> str:
        return f"PemFile({len(self.content)} bytes)"  # never the key


PemFiles = dict[str, PemFile]
"""By the path as it is written."""


class Use(NamedTuple):
    """A place that names a certificate with its key, or, without a key, the certificates of a CA."""

    item: Item
    path: Path
    file: str
    key_path: Path = ()
    key: str = ""

    def files(self) -> tuple[str, ...]:
        """All that it names."""
        return (self.file, self.key) if self.key else (self.file,)

    def problem(self, message: str, hint: str = "", *, is_key: bool = False, is_warning: bool = False) -> Problem:
        """A problem at the place where the file is named."""
        path, file = (self.key_path, self.key) if is_key else (self.path, self.file)
        source = self.item.at(path)
        severity = Severity.WARNING if is_warning else Severity.ERROR
        shown = f"{dotted(path)}: {quoted(file)}: {message}"
        return Problem(source.file, source.line, source.column, shown, file, hint=hint, severity=severity)


class CertificateFile(Struct, frozen=True, gc=False):
    """A file of certificates that is in use, for people who look after it."""

    name: str  # its path as it is written
    is_ca: bool
    names: tuple[str, ...]  # DNS names and IP addresses; of a CA none
    validity: Validity
    used_by: tuple[str, ...]  # "listeners.web"


class Certificates(Struct, frozen=True, gc=False):
    """What the files of a configuration hold."""

    pairs: dict[tuple[str, str], Pair] = {}  # by the paths of certificate and key, as written
    bundles: dict[str, Bundle] = {}  # by path
    files: tuple[CertificateFile, ...] = ()


NO_CERTIFICATES = Certificates()


def uses_of(items: Items) -> list[Use]:
    """Every place that names files. Listeners and services with errors have none."""
    uses: list[Use] = []
    for named in (items.get("listeners", {}), items.get("services", {})):
        for item in named.values():
            value: Listener | Service = item.entry.value
            if value is not FAILED and value.tls is not None:
                uses += _uses(item, value)
    return uses


def _uses(item: Item, value: Listener | Service) -> Iterator[Use]:
    tls = value.tls
    path: Path = (item.entry.kind, item.entry.name, "tls")
    for index, pair in enumerate(getattr(tls, "certificates", ())):
        here = (*path, "certificates", index)
        yield Use(item, (*here, "certificate"), pair.certificate, (*here, "key"), pair.key)
    if certificate := getattr(tls, "certificate", None):
        yield Use(item, (*path, "certificate"), certificate, (*path, "key"), getattr(tls, "key", ""))
    for name in ("client_ca", "ca"):
        if file := getattr(tls, name, None):
            yield Use(item, (*path, name), file)


def read_pem_files(directory: pathlib.Path, files: Iterable[str]) -> PemFiles:
    """Read each file once. What cannot be read says so."""
    return {file: _read(os.path.join(directory, file)) for file in dict.fromkeys(files)}


def _read(path: str) -> PemFile:
    try:
        content = read_file(path, PEM_MAX_BYTES)
    except FileNotFoundError as error:
        return PemFile(b"", (error.strerror or str(error)).lower(), _neighbour(path))
    except (OSError, ValueError) as error:
        return PemFile(b"", (getattr(error, "strerror", "") or str(error)).lower())
    if len(content) > PEM_MAX_BYTES:
        return PemFile(b"", f"it is larger than {PEM_MAX_BYTES >> 20} MiB")
    return PemFile(content)


def _neighbour(path: str) -> str:
    """A file of a similar name in the same folder."""
    folder, name = os.path.split(path)
    if os.path.islink(path):
        return f"the link leads nowhere: {quoted(os.readlink(path))}"
    try:
        names = os.listdir(folder)
    except OSError:
        return "there is no such folder; paths begin at the configuration directory"
    return did_you_mean(name, names) if len(names) <= NEIGHBOURS_MAX else ""


@dataclass
class PemCache:
    """What files of these contents were found to hold: certificate and key, or a bundle and nothing."""

    known: dict[tuple[bytes, bytes | None], Pair | Bundle | PemError] = field(default_factory=dict, repr=False)

    def check(self, uses: list[Use], files: PemFiles, problems: list[Problem]) -> Certificates:
        """What the files hold; what is wrong with them is added to `problems`."""
        if not uses:
            self.known = {}
            return NO_CERTIFICATES
        from fastmesh.identity.certificates import Pair, PemError

        before, self.known = self.known, {}
        pairs: dict[tuple[str, str], Pair] = {}
        bundles: dict[str, Bundle] = {}
        for use in uses:
            unreadable = _unreadable(use, files)
            problems += unreadable
            if unreadable:
                continue
            contents = (files[use.file].content, files[use.key].content if use.key else None)
            found = self.known[contents] = self.known.get(contents) or before.get(contents) or _parsed(*contents)
            if isinstance(found, PemError):
                problems.append(use.problem(found.message, found.hint, is_key=found.is_key))
            elif isinstance(found, Pair):
                pairs[use.file, use.key] = found
            else:
                bundles[use.file] = found
        return Certificates(pairs, bundles, _in_use(uses, pairs, bundles))


def never_chosen(uses: list[Use], certificates: Certificates) -> list[Problem]:
    """A warning for each certificate of a listener whose names all belong to others before it."""
    warnings: list[Problem] = []
    taken: dict[str, dict[str, str]] = {}  # of each listener: names, and the certificate that has them
    for use in uses:
        pair = certificates.pairs.get((use.file, use.key))
        if pair is None or use.item.entry.kind != "listeners":
            continue
        known = taken.get(use.item.entry.name)
        if known is not None and known.keys() >= set(pair.names):
            why = f"its names are those of {quoted(known[pair.names[0]])}" if pair.names else "it has no names"
            warnings.append(use.problem(f"it is never shown: {why}", "remove it", is_warning=True))
        known = taken.setdefault(use.item.entry.name, {})
        for name in pair.names:
            known.setdefault(name, use.file)
    return warnings


def _unreadable(use: Use, files: PemFiles) -> list[Problem]:
    return [
        use.problem(f"the file cannot be read: {files[file].error}", files[file].hint, is_key=is_key)
        for file, is_key in ((use.file, False), (use.key, True))
        if file and files[file].error
    ]


def _parsed(content: bytes, key: bytes | None) -> Pair | Bundle | PemError:
    from fastmesh.identity.certificates import PemError, read_bundle, read_pair

    try:
        return read_bundle(content) if key is None else read_pair(content, key)
    except PemError as error:
        return error.with_traceback(None)


def _in_use(
    uses: list[Use], pairs: dict[tuple[str, str], Pair], bundles: dict[str, Bundle]
) -> tuple[CertificateFile, ...]:
    """Each file once, with all who use it."""
    users: dict[tuple[str, bool], dict[str, None]] = {}
    for use in uses:
        users.setdefault((use.file, not use.key), {})[dotted(use.path[:2])] = None
    found: dict[tuple[str, bool], CertificateFile] = {}
    for (name, _), pair in pairs.items():
        found[name, False] = CertificateFile(name, False, pair.names, pair.validity, tuple(users[name, False]))
    for name, bundle in bundles.items():
        found[name, True] = CertificateFile(name, True, (), bundle.validity, tuple(users[name, True]))
    return tuple(found.values())


def validity_warnings(uses: list[Use], certificates: Certificates, now_s: float) -> list[Problem]:
    """One for each file that is not valid now, or not much longer, where it is named first."""
    first = {(use.file, not use.key): use for use in reversed(uses)}
    warnings = []
    for file in certificates.files:
        if said := file.validity.warning(now_s):
            is_refused = now_s > file.validity.not_after_s or now_s < file.validity.not_before_s
            hint = "the other side refuses it" if is_refused and not file.is_ca else "renew it"
            warnings.append(first[file.name, file.is_ca].problem(said, hint, is_warning=True))
    return warnings
