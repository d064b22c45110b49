"""The endpoints of the admin API: one table, from which requests are answered and the OpenAPI description is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fastmesh.admin import model, views
from fastmesh.admin.http import ApiError, Request, Response, guard, json_response
from fastmesh.admin.mesh import Mesh

PAGE = Path(__file__).with_name("page.html")
HTML = "text/html; charset=utf-8"
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}

Parsed = TypeVar("Parsed")
Answer = Callable[["Api", Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method does on one path."""

    method: str
    path: str  # "/services/{name}"
    summary: str
    answer: Answer
    result: Any  # type of the JSON, or a media type that is not JSON
    statuses: tuple[int, ...] = (200,)  # those that carry `result`
    errors: tuple[int, ...] = ()  # those that carry model.Error
    body: Any = None  # type of the JSON that the request carries


class Api:
    """Answers requests about one mesh."""

    def __init__(self, mesh: Mesh, host: str) -> None:
        """`host`: the address that the admin API is bound to."""
        self.mesh = mesh
        self._host = host

    async def __call__(self, request: Request) -> Response:
        """Answer a request; raises `ApiError`."""
        guard(request, self._host)
        found = self._find(request)
        if not found:
            known = ", ".join(dict.fromkeys(operation.path for operation in OPERATIONS))
            raise ApiError(404, f"nothing at {request.path}", f"there is: {known}")
        method = "GET" if request.method == "HEAD" else request.method
        operation = found.get(method)
        if operation is None:
            allowed = ", ".join(sorted({*found, *(["HEAD"] if "GET" in found else [])}))
            raise ApiError(405, f"{request.path} does not take {request.method}", f"it takes {allowed}", allow=allowed)
        return await operation.answer(self, request)

    def _find(self, request: Request) -> dict[str, Operation]:
        """The operations of a path by method; fills in the request's parameters."""
        parts = request.target.partition("?")[0].split("/")
        found = {}
        for operation in OPERATIONS:
            pattern = operation.path.split("/")
            if len(pattern) == len(parts) and all(
                want == is_ or (want.startswith("{") and is_) for want, is_ in zip(pattern, parts, strict=True)
            ):
                found[operation.method] = operation
                request.fill(pattern, parts)
        return found


async def page(api: Api, request: Request) -> Response:
    return Response(200, PAGE.read_bytes(), HTML, PAGE_HEADERS)


async def healthz(api: Api, request: Request) -> Response:
    return json_response(model.Health("alive"))


async def readyz(api: Api, request: Request) -> Response:
    readiness = views.readiness(api.mesh.state)
    return json_response(readiness, 200 if readiness.ready else 503)


async def status(api: Api, request: Request) -> Response:
    return json_response(views.status(api.mesh))


async def metrics(api: Api, request: Request) -> Response:
    media, chunks = api.mesh.metrics(request.headers.get("accept", ""))
    return Response(200, _encoded(chunks), media)


def _encoded(chunks: Iterator[str]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk.encode()


async def config(api: Api, request: Request) -> Response:
    return json_response(views.config(api.mesh))


async def config_errors(api: Api, request: Request) -> Response:
    return json_response(views.problems(api.mesh.state))


async def config_history(api: Api, request: Request) -> Response:
    return json_response([views.reload(attempt) for attempt in api.mesh.state.history])


async def listeners(api: Api, request: Request) -> Response:
    return json_response(views.listeners(api.mesh))


async def services(api: Api, request: Request) -> Response:
    return json_response(views.service_summaries(api.mesh))


async def service(api: Api, request: Request) -> Response:
    name = request.parameters["name"]
    found = views.service(api.mesh, name)
    if found is None:
        raise ApiError(404, f"there is no service {name!r}", "GET /services lists those there are")
    return json_response(found)


async def routes(api: Api, request: Request) -> Response:
    return json_response(views.routes(api.mesh))


async def workers(api: Api, request: Request) -> Response:
    return json_response(views.workers(api.mesh))


async def names(api: Api, request: Request) -> Response:
    return json_response(views.names(api.mesh.names()))


async def sources(api: Api, request: Request) -> Response:
    return json_response(views.sources(api.mesh.sources()))


async def certificates(api: Api, request: Request) -> Response:
    return json_response(views.certificates(api.mesh.state))


async def log_level(api: Api, request: Request) -> Response:
    return json_response({"level": api.mesh.log_level()})


async def set_log_level(api: Api, request: Request) -> Response:
    wanted = _body(request, model.LogLevel)
    api.mesh.set_log_level(wanted.level)
    return json_response(wanted)


async def drain(api: Api, request: Request) -> Response:
    api.mesh.drain()
    return json_response(model.Draining(True), 202)


async def reload(api: Api, request: Request) -> Response:
    attempt = await api.mesh.reload()
    failed = attempt.outcome in ("invalid", "unbound")
    return json_response(views.reload(attempt), 409 if failed else 200)


async def openapi(api: Api, request: Request) -> Response:
    # Made when asked for: it takes a module and memory that an idle mesh need not hold.
    from fastmesh.admin.openapi import describe

    return json_response(describe(OPERATIONS))


def _body(request: Request, kind: type[Parsed]) -> Parsed:
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.MsgspecError as error:
        raise ApiError(400, f"the body is not as expected: {error}", "GET /openapi.json describes it") from None


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/", "A page for people that shows the mesh at a glance", page, HTML),
    Operation("GET", "/status", "Everything at a glance", status, model.Status),
    Operation("GET", "/healthz", "Whether the process is alive", healthz, model.Health),
    Operation("GET", "/readyz", "Whether new requests should be sent here", readyz, model.Readiness, (200, 503)),
    Operation(
        "GET", "/metrics", "Metrics: Prometheus text, or OpenMetrics if asked for by Accept", metrics, "text/plain"
    ),
    Operation("GET", "/config", "The active configuration", config, model.Config),
    Operation("GET", "/config/errors", "What is wrong in the directory", config_errors, model.Problems),
    Operation("GET", "/config/history", "The last reloads, newest first", config_history, list[model.Reload]),
    Operation("GET", "/listeners", "Listeners and their connections", listeners, list[model.Listener]),
    Operation("GET", "/services", "Services in short", services, list[model.ServiceSummary]),
    Operation("GET", "/services/{name}", "One service with its endpoints", service, model.Service, errors=(404,)),
    Operation("GET", "/routes", "Routes and what went through them, in the order written", routes, list[model.Route]),
    Operation("GET", "/workers", "Worker processes", workers, list[model.Worker]),
    Operation("GET", "/names", "DNS names that endpoints stand for", names, list[model.Name]),
    Operation("GET", "/sources", "Where services find endpoints while the mesh runs", sources, list[model.Source]),
    Operation("GET", "/certificates", "Certificates and when they expire", certificates, list[model.Certificate]),
    Operation("GET", "/log/level", "The level of fastmesh's own log", log_level, model.LogLevel),
    Operation(
        "PUT",
        "/log/level",
        "Change it until the next start",
        set_log_level,
        model.LogLevel,
        errors=(400,),
        body=model.LogLevel,
    ),
    Operation("POST", "/drain", "Be unready from now on; requests are still served", drain, model.Draining, (202,)),
    Operation(
        "POST", "/reload", "Read the directory now; 409: it could not be applied", reload, model.Reload, (200, 409)
    ),
    Operation("GET", "/openapi.json", "This description", openapi, dict[str, Any]),
)
