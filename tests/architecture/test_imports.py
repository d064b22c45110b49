"""Who may import whom: the arrows of the design, held against every import and cimport."""

from pathlib import Path

import pytest

from tests.architecture.sources import CORE, PACKAGE, files, imported_modules, module_name

# Part of fastmesh -> the parts that it may import besides itself. A part is a package or a module right below fastmesh;
# "_core.shared" allows that one module of _core: shared memory and its vocabulary are where the two planes meet.
EVERYTHING = {"_core", "admin", "config", "control", "discovery", "health", "identity", "snapshot", "telemetry", "wire"}
MAY_IMPORT: dict[str, set[str]] = {
    "__main__": {"cli"},
    # Each process of `run` starts in a module of its own, so that workers never load the control plane.
    "cli": {
        "app",
        "config",
        "launcher",
        "lease",
        "sidecar",
        "snapshot",
        "supervisor",
        "worker",
        "_core.load_generator",
    },
    "sidecar": {"lease", "_core.process"},
    "lease": set(),
    "app": EVERYTHING | {"supervisor"},
    "launcher": {"wire", "_core.process"},
    "supervisor": {"wire", "control"},
    "worker": {"_core", "identity", "snapshot", "wire"},
    "wire": {"snapshot"},
    "control": {"config", "snapshot", "wire", "_core.process", "_core.shared"},
    "discovery": {"config", "lease", "snapshot"},
    "health": {"config", "snapshot"},
    "admin": {"config", "identity.validity", "snapshot", "_core.histogram", "_core.reason", "_core.shared"},
    "identity": {"config", "snapshot", "_core.openssl"},
    "telemetry": {
        "snapshot",
        "_core.grpc_calls",
        "_core.histogram",
        "_core.http2_guard",
        "_core.reason",
        "_core.shared",
        "_core.tls",
    },
    # Patterns and log formats are checked by the code that will run them; so are certificates. Explanations ask the
    # parser and the router.
    "config": {
        "snapshot",
        "identity.certificates",
        "identity.validity",
        "_core.access_log",
        "_core.http1_parser",
        "_core.regex",
        "_core.router",
    },
    "snapshot": set(),
    "_core": set(),
}

# Outside of fastmesh, the request path stands on C alone. What is imported besides serves set-up, never a request.
CORE_FOREIGN = {"cpython", "cython", "libc", "posix"}
CORE_SET_UP = {
    "engine": {"os"},  # the seed of its random numbers, the text of an errno
    "openssl": {"cryptography"},  # where its OpenSSL is
    "load_generator": {"os"},  # the text of an errno
    "networks": {"ipaddress"},  # reads the blocks of a listener
    "regex": {"re2"},  # compiles the patterns; only where a route has one
    "router": {"os"},  # the secret of a hash table
}

# The files of _core that touch descriptors, clocks or the kernel, or the live objects that do. All others are sans-IO
# and never import one of these.
CORE_WITH_IO = {
    "accounting",
    "buffers",
    "connection",
    "engine",
    "exchange",
    "exchange_grpc",
    "http1_body",
    "http1_client",
    "http1_response",
    "http1_server",
    "http2_blocks",
    "http2_bodies",
    "http2_client",
    "http2_control",
    "http2_deadlines",
    "http2_errors",
    "http2_guard",
    "http2_output",
    "http2_server",
    "http2_session",
    "http2_streams",
    "listener",
    "live",
    "load_connection",
    "load_generator",
    "local_answer",
    "opening",
    "pool",
    "proxy_out",
    "request_key",
    "rounds",
    "stage_filter",
    "stage_route",
    "sockets",
    "tables",
    "tcp_client",
    "tcp_server",
    "tls",
    "transport",
}

SOURCES = files(".py", ".pyx", ".pxd", ".pyi")


def part_of(module: str) -> str:
    """`fastmesh.config.load` -> `config`; what is defined in fastmesh/__init__.py belongs to no part."""
    name = module.split(".")[1] if "." in module else ""
    return name if name and ((PACKAGE / name).is_dir() or list(PACKAGE.glob(f"{name}.py"))) else ""


def wrong_part(importer: str, imported: str) -> bool:
    source, wanted = part_of(importer), part_of(imported)
    if not source or not wanted or source == wanted:
        return False
    allowed = MAY_IMPORT.get(source, set())
    return wanted not in allowed and ".".join(imported.split(".")[1:3]) not in allowed


def wrong_core(importer: str, imported: str) -> bool:
    """`importer` is a module of _core."""
    if not imported.startswith("fastmesh."):
        return imported.split(".")[0] not in CORE_FOREIGN | CORE_SET_UP.get(importer.split(".")[2], set())
    parts = imported.split(".")
    io_wanted = parts[1] == "_core" and len(parts) > 2 and parts[2] in CORE_WITH_IO
    return io_wanted and importer.split(".")[2] not in CORE_WITH_IO


def imports(path: Path) -> list[tuple[int, str]]:
    return list(imported_modules(path.read_text("utf-8"), module_name(path), path.stem == "__init__"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_part_imports_only_what_it_may(path: Path) -> None:
    # The .pyi of a compiled module names the types that it takes; the module itself is held to the arrows.
    types = {"snapshot"} if path.suffix == ".pyi" else set()
    module = module_name(path)
    found = [(line, name) for line, name in imports(path) if wrong_part(module, name) and part_of(name) not in types]
    assert found == []


@pytest.mark.parametrize("path", files(".py", ".pyx", ".pxd", under=CORE), ids=lambda path: path.name)
def test_core_stands_on_itself_and_c(path: Path) -> None:
    module = module_name(path)
    assert [f"{path.name}:{line} {name}" for line, name in imports(path) if wrong_core(module, name)] == []


@pytest.mark.parametrize("path", files(".pyx", under=CORE), ids=lambda path: path.name)
def test_every_compiled_module_has_a_face(path: Path) -> None:
    assert path.with_suffix(".pxd").exists() or path.with_suffix(".pyi").exists()


def test_every_exception_is_in_use() -> None:
    used = {(path.stem, name.split(".")[0]) for path in files(".pyx", under=CORE) for _, name in imports(path)}
    assert {(stem, name) for stem, names in CORE_SET_UP.items() for name in names} - used == set()


def test_every_part_has_a_row() -> None:
    parts = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts - {"__init__"} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("importer", "text", "found"),
    [
        ("fastmesh.worker", "from fastmesh.config import load", ["fastmesh.config.load"]),
        ("fastmesh.worker", "import fastmesh.control.watch as w, os", ["fastmesh.control.watch"]),
        ("fastmesh.health.checker", "from ..admin import app", ["fastmesh.admin.app"]),
        ("fastmesh.health.checker", "from fastmesh import (\n    admin,\n    snapshot,\n)", ["fastmesh.admin"]),
        ("fastmesh.health.checker", '"""\nfrom fastmesh.admin import app\n"""\nfrom . import model', []),
        ("fastmesh.config.load", "if TYPE_CHECKING:\n    from fastmesh import worker", ["fastmesh.worker"]),
        ("fastmesh.telemetry.ids", "from fastmesh._core.shared import Kind", []),
        ("fastmesh.telemetry.ids", "from fastmesh._core cimport engine", ["fastmesh._core.engine"]),
        ("fastmesh.snapshot", "from fastmesh import __version__", []),
    ],
)
def test_the_reader_sees_a_wrong_arrow(importer: str, text: str, found: list[str]) -> None:
    assert [name for _, name in imported_modules(text, importer, False) if wrong_part(importer, name)] == found


@pytest.mark.parametrize(
    ("importer", "text", "found"),
    [
        ("fastmesh._core.router", "from fastmesh._core.sockets cimport peer", ["fastmesh._core.sockets.peer"]),
        ("fastmesh._core.router", "from fastmesh._core cimport headers, pool as p", ["fastmesh._core.pool"]),
        ("fastmesh._core.router", "cimport fastmesh._core.engine", ["fastmesh._core.engine"]),
        ("fastmesh._core.engine", "from fastmesh._core.sockets cimport peer", []),
        ("fastmesh._core.router", "from libc.string cimport (memcpy,\n  memchr)\nimport re", ["re"]),
        ("fastmesh._core.router", "from . cimport pool", ["fastmesh._core.pool"]),
    ],
)
def test_the_reader_sees_a_wrong_import_in_core(importer: str, text: str, found: list[str]) -> None:
    assert [name for _, name in imported_modules(text, importer, False) if wrong_core(importer, name)] == found
