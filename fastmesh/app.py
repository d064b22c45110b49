"""The composition root of the control plane: it alone knows everyone. Imported in the supervisor only."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from fastmesh import __version__, wire
from fastmesh._core.engine import LIVE_KINDS
from fastmesh._core.shared import SharedMemory
from fastmesh.admin import AdminServer, Api
from fastmesh.config import Certificates, CompileCache, Config, Listener, LoadResult, compile_snapshot
from fastmesh.config.addresses import split_address
from fastmesh.control.expiry import warn_daily
from fastmesh.control.history import Attempt, Outcome
from fastmesh.control.notify import notify
from fastmesh.control.publish import Publisher
from fastmesh.control.reload import Reloader
from fastmesh.control.sockets import BindError, ListeningSockets, address_text, bind_failure
from fastmesh.control.state import State
from fastmesh.control.watch import changes
from fastmesh.control.workers import Workers
from fastmesh.discovery import SUFFIXES, Discovery, NameState, Source, list_files
from fastmesh.health import EndpointHealth, HealthChecker, checked_services
from fastmesh.snapshot import Snapshot
from fastmesh.supervisor import obey_launcher
from fastmesh.telemetry import logs
from fastmesh.telemetry.figures import CertificateExpiry, ControlFigures, DiscoveryFigures
from fastmesh.telemetry.figures import EndpointHealth as EndpointFigures
from fastmesh.telemetry.figures import ServiceHealth as ServiceFigures
from fastmesh.telemetry.ids import IdRegistry, Kind
from fastmesh.telemetry.log_sink import LogSink
from fastmesh.telemetry.metrics import negotiate, render

FIRST_ANSWERS_TIMEOUT_S = 2.0
"""How long a new configuration waits for names that were never looked up."""

RECYCLE_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


async def serve(directory: Path, worker_count: int, launcher: wire.Channel) -> int:
    """Run the control plane until told to end; the exit code."""
    logs.configure()
    mesh = Mesh(directory, worker_count, launcher)
    try:
        if not await mesh.start():
            return 1
        await mesh.ended.wait()
        await mesh.finish()
    finally:
        await mesh.close()
    return 1 if mesh.has_failed else 0


class Mesh:
    """All parts of the supervisor, put together; what the admin API shows and steers."""

    def __init__(self, directory: Path, worker_count: int, launcher: wire.Channel) -> None:
        self.state = State(str(directory), worker_count)
        self.shared = SharedMemory.create(worker_count)
        self.ended = asyncio.Event()  # it is time to end
        self.has_failed = False
        self._launcher = launcher
        self._registry = IdRegistry(self.shared)
        self._compile_cache = CompileCache()
        self._config = Config()  # in force, as `_loaded` is
        self._loaded: LoadResult | None = None
        self._log_sink = LogSink(None)
        self._sockets = ListeningSockets()
        self._publisher = Publisher(self.state, self._sockets)
        self._workers = Workers(self.state, launcher, self.shared, self._publisher, self._log_sink.open_pipe)
        watch = partial(changes, suffixes=SUFFIXES, look=lambda folder, _: list_files(folder))
        self._discovery = Discovery(directory, self._on_endpoints, watch)
        self._checker = HealthChecker(self.shared)
        self._reloader = Reloader(directory, self.state, self._apply)
        self._admin: AdminServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> bool:
        """Load the directory, listen, start the workers; False when that cannot be, and it has been said why."""
        attempt = await self._reloader.reload()
        if attempt.outcome is not Outcome.APPLIED:
            _explain(attempt, self.state.directory)
            return False
        self._log_sink.start()
        self._run(
            obey_launcher(self._launcher, self._workers, self.ended.set, self._reload_soon, self._log_sink.reopen)
        )
        self._workers.start()
        self._run(self._workers.watch())
        if not await self._workers.first_serving():
            log.error("%s; nothing is served", self.state.error or "a worker ended before it served")
            return False
        self._run(self._reloader.follow())
        self._run(self._recycle_ids())
        self._run(warn_daily(self.state))
        self._say_what_is_served()
        notify("READY=1")
        return True

    async def finish(self) -> None:
        """Unready, no new connections, and the end when the last exchange is done or at the deadline."""
        self.drain()
        self._sockets.close()
        await self._workers.drain(self._config.drain.timeout)

    async def close(self) -> None:
        """Leave nothing open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._discovery.close()
        await self._checker.close()
        if self._admin is not None:
            await self._admin.close()
        self._sockets.close()
        self._log_sink.close()

    # What the admin API asks.

    def health(self, endpoint_id: int) -> EndpointHealth | None:
        return self._checker.health(endpoint_id)

    def names(self) -> Iterable[NameState]:
        return self._discovery.names()

    def sources(self) -> Iterable[Source]:
        return self._discovery.sources()

    def place(self, kind: str, name: str) -> str:
        item = self._loaded.items.get(kind, {}).get(name) if self._loaded is not None else None
        if item is None:
            return ""
        source = item.source()
        return f"{source.file}:{source.line}"

    def metrics(self, accept: str) -> tuple[str, Iterator[str]]:
        form = negotiate(accept)
        discovery = [DiscoveryFigures(*standing) for standing in self._discovery.standings(self._config)]
        figures = control_figures(self.state, self._checker, self._log_sink, discovery)
        return form.value, render(self.shared, self._registry, figures, form)

    def log_level(self) -> str:
        return logs.level()

    def set_log_level(self, level: str) -> None:
        logs.set_level(level)

    async def reload(self) -> Attempt:
        return await self._reloader.reload()

    def drain(self) -> None:
        if not self.state.draining:
            log.info("draining: not ready for new clients any more")
            notify("STOPPING=1")
        self.state.draining = True

    # A new configuration, and what it changes in each part.

    async def _apply(self, result: LoadResult) -> None:
        config = result.config
        assert config is not None
        await self._follow_sources(config)
        admin = None
        try:
            admin = await self._start_admin(config)
            self._set_log_path(config)
            if self.ended.is_set():
                raise BindError("the mesh is about to end")
            snapshot = self._compile(config, result.digest, result.certificates)
            self._publisher.publish(snapshot, self._workers.channels, config.drain.timeout)
        except BindError:
            await self._take_back(admin)
            raise
        if config.log != self._config.log:
            logs.configure(config.log.level, "json" if config.log.format == "json" else "text")
        self._config, self._loaded = config, result
        self._discovery.follow(config)
        self._checker.update(checked_services(config, snapshot))
        self._retain_ids(snapshot)
        if admin is not None:
            await self._use_admin(admin)

    async def _take_back(self, admin: AdminServer | None) -> None:
        if admin is not None:
            await admin.close()
        self._set_log_path(self._config)
        self._discovery.follow(self._config)

    async def _follow_sources(self, config: Config) -> None:
        """Follow what the version in force and the new one name, until it is known which it will be."""
        self._discovery.follow(self._config, config)
        await self._discovery.first_answers(FIRST_ANSWERS_TIMEOUT_S)

    async def _use_admin(self, admin: AdminServer) -> None:
        old, self._admin = self._admin, admin
        if old is not None:
            await old.close()

    async def _start_admin(self, config: Config) -> AdminServer | None:
        """None when it stays where it is. Raises BindError."""
        if self._admin is not None and config.admin == self._config.admin:
            return None
        host, port = split_address(config.admin.address)
        server = AdminServer(Api(self, host))
        try:
            await server.start(host, port)
        except OSError as error:
            raise BindError(f"admin: {bind_failure(host, port, error)}") from None
        return server

    def _set_log_path(self, config: Config) -> None:
        path = config.access_log.path if config.access_log is not None else "stdout"
        try:
            self._log_sink.set_path(None if path == "stdout" else path)
        except OSError as error:
            raise BindError(f"access_log: cannot write to {path}: {error.strerror}") from None

    def _compile(self, config: Config, digest: str, certificates: Certificates) -> Snapshot:
        resolved, found = self._discovery.resolved(config), self._discovery.found(config)
        return compile_snapshot(config, digest, self._registry, resolved, self._compile_cache, certificates, found)

    def _on_endpoints(self) -> None:
        """Sources or names say other than before: the version stays, endpoints change."""
        if self._loaded is None:
            return
        snapshot = self._compile(self._config, self.state.version, self._loaded.certificates)
        self._publisher.update_endpoints(snapshot, self._workers.channels)
        self._checker.update(checked_services(self._config, snapshot))
        self._retain_ids(snapshot)

    def _retain_ids(self, snapshot: Snapshot) -> None:
        now_s = time.monotonic()
        for kind, used in ids_in_use(snapshot).items():
            names = [name for name, id in self._registry.items(kind) if id in used]
            self._registry.retain(kind, names, now_s)

    async def _recycle_ids(self) -> None:
        while True:
            await asyncio.sleep(RECYCLE_INTERVAL_S)
            self._registry.recycle(time.monotonic())

    # Tasks, and words for people.

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the supervisor failed, all must end: %s", error, exc_info=error)
            self.has_failed = True
            self.ended.set()

    def _reload_soon(self) -> None:
        self._run(self._reload())

    async def _reload(self) -> None:
        await self._reloader.reload()

    def _say_what_is_served(self) -> None:
        """On standard error: standard output belongs to the access log."""
        lines = [f"fastmesh {__version__} serves {self.state.directory} with {self.state.worker_count} worker(s)"]
        schemes = {name: scheme_of(listener) for name, listener in self._config.listeners.items()}
        lines += [f"  listener {each.name}: {schemes[each.name]}://{each.address}" for each in self.state.listeners]
        lines.append(f"  admin: http://{self._config.admin.address}")
        print("\n".join(lines), file=sys.stderr, flush=True)


def scheme_of(listener: Listener) -> str:
    """What stands before its address in a URL."""
    plain, secure = ("tcp", "tls") if listener.spoken == "tcp" else ("http", "https")
    return plain if listener.tls is None else secure


def ids_in_use(snapshot: Snapshot) -> dict[Kind, set[int]]:
    """The ids that a snapshot names, by kind."""
    series = {id for route in snapshot.routes for destination in route.destinations for id in destination.series_ids}
    for listener in snapshot.listeners:
        series |= {id for route in listener.tcp_routes for each in route.destinations for id in each.series_ids}
    return {
        Kind.LISTENER: {listener.id for listener in snapshot.listeners},
        Kind.SERVICE: {service.id for service in snapshot.services},
        Kind.ROUTE: {route.id for route in snapshot.routes},
        Kind.ENDPOINT: {endpoint.id for service in snapshot.services for endpoint in service.endpoints},
        Kind.LIMIT: {limit.id for limit in snapshot.limits},
        Kind.SERIES: series | {listener.unrouted_series_id for listener in snapshot.listeners},
    }


def control_figures(
    state: State, checker: HealthChecker, log_sink: LogSink, discovery: Sequence[DiscoveryFigures]
) -> ControlFigures:
    """The supervisor's own figures, for the metrics."""
    services, endpoints = [], []
    for service in state.snapshot.services if state.snapshot is not None else ():
        checked = [(endpoint, checker.health(endpoint.id)) for endpoint in service.endpoints]
        found = [
            EndpointFigures(service.name, address_text(endpoint.host, endpoint.port), health.healthy)
            for endpoint, health in checked
            if health is not None
        ]
        endpoints += found
        total = len(service.endpoints)
        healthy = total - sum(not each.healthy for each in found)
        panicking = 100 * healthy < service.panic_percent * total
        services.append(ServiceFigures(service.name, healthy, total, panicking))
    last = state.history.last
    expiries: dict[str, int] = {}  # a file may hold a certificate here, and stand for a CA there
    for file in state.certificates:
        expiries[file.name] = min(file.validity.not_after_s, expiries.get(file.name, file.validity.not_after_s))
    return ControlFigures(
        version=__version__,
        snapshot_version=state.version,
        started_unix_s=state.started_s,
        reloads={str(outcome): count for outcome, count in state.history.counts.items()},
        last_reload_unix_s=last.time_s if last is not None else 0.0,
        last_applied_unix_s=state.history.last_applied_s,
        config_errors=len(state.problems) + bool(state.error),
        worker_restarts=sum(worker.restarts for worker in state.workers),
        live_kinds=LIVE_KINDS,
        services=services,
        endpoints=endpoints,
        discovery=discovery,
        certificates=[CertificateExpiry(name, at_s) for name, at_s in expiries.items()],
        log_lines_written=log_sink.lines_written,
        log_lines_dropped=log_sink.lines_dropped,
    )


def _explain(attempt: Attempt, directory: str) -> None:
    """Why there is nothing to run, on standard error."""
    lines = [*map(str, attempt.problems), *attempt.error.splitlines()]
    count = f"{len(lines)} errors" if len(lines) > 1 else "1 error"
    print("\n".join([*lines, f"fastmesh: {count} in {directory}; nothing was started"]), file=sys.stderr)
