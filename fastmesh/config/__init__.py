"""The configuration language: a directory of YAML files in, problems or a snapshot out. Pure, but for reading files.

    cache = LoadCache()                                 # keep it: a later load then costs what changed
    result = load(Path("config"), cache)                # never raises
    for problem in result.problems: print(problem)      # errors and warnings: all, sorted by file, line and column
    if result.config is None: ...                       # at least one error: keep the last good one
    for name in names_to_resolve(result.config): ...    # who exists: somebody else looks names up
    snapshot = compile_snapshot(result.config, result.digest, ids, resolved, compile_cache, result.certificates)
                                                        # keep that cache, too

`ids` is fastmesh.telemetry.ids.IdRegistry, or whatever has its `id_of(kind, name) -> int`. The kinds and their names:

    "listener"  name                                          "route"   name
    "service"   name                                          "limit"   "route/NAME", "service/NAME", "listener/NAME"
    "endpoint"  (service, "ip:port" or "[ip]:port")           "series"  (listener, route, service, subset)

A subset is written "version=v2,zone=a", sorted by label, and is empty for the whole service; the series of requests
that no route took is (listener, "", "", ""). Snapshot.version is LoadResult.digest, whatever `resolved` says.

`LoadResult.sources` maps (kind, name), such as ("routes", "hello"), to a Source with file, line and column;
`LoadResult.texts` maps the name of each file to its text.

Certificates and keys stand in files of their own, which the configuration names. They are read with the directory:
`LoadResult.pem_files` are their contents (keep them to yourself), `LoadResult.certificates` what was found in them, and
`LoadResult.certificates.files` what may be shown.

`resolved` maps a name to its IP literals; endpoints of a name that is not in it do not exist yet. `found` maps the name
of a service to the endpoints that its sources have found.
"""

from fastmesh.config.compile import CompileCache, IdRegistry, compile_snapshot, names_to_resolve
from fastmesh.config.load import LoadCache, LoadResult, Source, load
from fastmesh.config.pem_files import CertificateFile, Certificates
from fastmesh.config.problem import Problem, Severity
from fastmesh.config.schema import (
    AccessLog,
    Admin,
    Config,
    Discover,
    Dns,
    Drain,
    Endpoint,
    GrpcCheck,
    HealthCheck,
    HttpCheck,
    Listener,
    Log,
    Route,
    Service,
)

__all__ = [
    "AccessLog",
    "Admin",
    "CertificateFile",
    "Certificates",
    "CompileCache",
    "Config",
    "Discover",
    "Dns",
    "Drain",
    "Endpoint",
    "GrpcCheck",
    "HealthCheck",
    "HttpCheck",
    "IdRegistry",
    "Listener",
    "LoadCache",
    "LoadResult",
    "Log",
    "Problem",
    "Route",
    "Service",
    "Severity",
    "Source",
    "compile_snapshot",
    "load",
    "names_to_resolve",
]
