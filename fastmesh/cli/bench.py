"""`fastmesh bench`: measure a service at a fixed rate, or as fast as it answers."""

from __future__ import annotations

import json
import math
import resource
import socket
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastmesh._core.load_generator import LoadGenerator

SPARE_DESCRIPTORS = 32
CONNECTIONS_MAX = 50_000
RATE_MAX = 10_000_000
DURATION_MAX_MS = 3_600_000
BODY_MAX_BYTES = 64 << 20
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Quantity(click.ParamType[int]):
    """A typed quantity of the configuration language, with a limit."""

    def __init__(self, name: str, largest: int, largest_text: str) -> None:
        self.name = name
        self._largest = largest
        self._largest_text = largest_text

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from fastmesh.config.problem import InvalidText
        from fastmesh.config.quantities import read_duration, read_size

        if isinstance(value, int):
            return value
        read: Callable[[str], int] = read_duration if self.name == "duration" else read_size
        try:
            quantity = read(value)
        except InvalidText as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.fail(f"{value!r} is not a {self.name}{hint}", param, ctx)
        if quantity > self._largest:
            self.fail(f"{value!r} is too much; the most is {self._largest_text}", param, ctx)
        return quantity


class Rate(click.ParamType[float]):
    """Requests a second, or `max` for a closed loop, which is 0 here."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).removesuffix("/s").replace("_", "")
        if text == "max":
            return 0.0
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not 0.001 <= rate <= RATE_MAX:
            self.fail(f"{value!r} is not a rate: a number of requests a second up to {RATE_MAX:,}, or max", param, ctx)
        return rate


def parse_url(text: str) -> SplitResult:
    """Check a URL. Raises BadParameter."""
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        port = url.port
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="URL") from None
    if url.scheme != "http":
        raise click.BadParameter(f"{text!r}: only http:// is spoken", param_hint="URL")
    if not url.hostname or port == 0 or url.username is not None:
        raise click.BadParameter(f"{text!r} should be http://HOST[:PORT][/PATH]", param_hint="URL")
    if any(character <= " " or character == "\x7f" or not character.isascii() for character in text):
        raise click.BadParameter(f"{text!r}: write spaces and other special characters as %XX", param_hint="URL")
    return url


def resolve(url: SplitResult) -> tuple[str, int]:
    """The address to connect to. Raises ClickException."""
    assert url.hostname is not None
    port = url.port or 80
    try:
        found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise click.ClickException(f"cannot resolve {url.hostname}: {error.strerror}; check the name") from None
    return str(found[0][4][0]), port


def build_request(url: SplitResult, method: str, headers: tuple[str, ...], body_bytes: int, close: bool) -> bytes:
    """The request as it is sent. Headers of the user replace those of the same name. Raises BadParameter."""
    if not method.isascii() or not method.isalpha():
        raise click.BadParameter(f"{method!r} is not a method", param_hint="--method")
    fields = {"host": ("Host", url.netloc), "user-agent": ("User-Agent", "fastmesh-bench")}
    if body_bytes:
        fields["content-length"] = ("Content-Length", str(body_bytes))
    if close:
        fields["connection"] = ("Connection", "close")
    given = []
    for header in headers:
        name, colon, value = header.partition(":")
        letters = name.replace("-", "").replace("_", "")
        if not colon or not letters.isalnum() or not name.isascii() or not header.isprintable():
            raise click.BadParameter(f"{header!r} should be 'Name: value'", param_hint="--header")
        if name.lower() in ("content-length", "transfer-encoding"):
            raise click.BadParameter(f"{name} is set by --body-size", param_hint="--header")
        fields.pop(name.lower(), None)
        given.append((name, value.strip()))
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in [*fields.values(), *given])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + b"x" * body_bytes


def allow_descriptors(connections: int) -> None:
    """Raise the limit of open descriptors as far as it must go. Raises ClickException."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        most = hard - SPARE_DESCRIPTORS
        raise click.ClickException(f"{connections} connections exceed the limit of open files; use at most {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def measure(generator: LoadGenerator, total_s: float) -> bool:
    """Run to the end, with progress on a terminal; False if it was interrupted. Raises ClickException."""
    shown = sys.stderr.isatty()
    try:
        while not generator.run(0.1):
            failed = generator.errors["connect"]
            if failed and not generator.received_bytes:
                raise click.ClickException(f"cannot connect: {generator.connect_error}; is the service running?")
            if shown:
                p99_ms = generator.latency.quantile_ns(0.99) / 1e6
                click.echo(
                    f"\r{generator.elapsed_s:6.1f} / {total_s:g} s  {generator.responses:,} responses  "
                    f"p99 {p99_ms:.2f} ms  {sum(generator.errors.values()):,} errors \x1b[K",
                    err=True,
                    nl=False,
                )
    except KeyboardInterrupt:
        generator.stop()
        return False
    finally:
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)
    return True


def summary(generator: LoadGenerator, url: str, rate: float, completed: bool) -> dict[str, Any]:
    """What was measured; durations in milliseconds."""
    seconds = generator.measured_s
    latency = generator.latency
    return {
        "url": url,
        "completed": completed,
        "measured_s": round(seconds, 3),
        "rate_intended": rate or None,
        "rate_achieved": round(generator.responses / seconds, 1) if seconds else 0.0,
        "responses": generator.responses,
        "statuses": generator.statuses,
        "errors": {**generator.errors, "unsent": generator.unsent},
        "received_bytes": generator.received_bytes,
        "latency_ms": {
            "mean": latency.mean_ns / 1e6,
            **{name: latency.quantile_ns(share) / 1e6 for name, share in QUANTILES.items()},
            "max": latency.max_ns / 1e6,
        },
        "send_delay_ms": {"p99": generator.delay.quantile_ns(0.99) / 1e6, "max": generator.delay.max_ns / 1e6},
    }


def table(found: dict[str, Any]) -> str:
    """The summary for people."""
    intended = f" of {found['rate_intended']:,.0f}/s intended" if found["rate_intended"] else " (closed loop)"
    statuses = ", ".join(f"{kind} {count:,}" for kind, count in found["statuses"].items() if count) or "none"
    errors = ", ".join(f"{kind} {count:,}" for kind, count in found["errors"].items() if count) or "none"
    lines = [
        f"{found['url']}, {found['measured_s']:g} s measured{'' if found['completed'] else ' (interrupted)'}",
        f"  throughput  {found['rate_achieved']:,.0f}/s{intended}",
        f"  responses   {found['responses']:,} ({statuses})",
        f"  errors      {errors}",
        f"  latency{'':10}from the intended start" if found["rate_intended"] else "  latency",
        *(f"    {name:6} {value:12,.3f} ms" for name, value in found["latency_ms"].items()),
    ]
    if found["rate_intended"]:
        late = found["send_delay_ms"]
        lines.append(f"  sent late   p99 {late['p99']:,.3f} ms, max {late['max']:,.3f} ms")
    if found["errors"]["unsent"]:
        lines.append(f"  {found['errors']['unsent']:,} requests found no free connection: latencies are lower bounds")
    return "\n".join(lines)


@click.command(
    epilog="""\b
Examples:
  fastmesh bench http://127.0.0.1:8080/ --rate 5000
  fastmesh bench http://127.0.0.1:8080/upload --method POST --body-size 64KiB --duration 30s
  fastmesh bench http://127.0.0.1:8080/ --rate max --connections 128 --json
"""
)
@click.argument("url")
@click.option(
    "--rate", type=Rate(), default=5000, show_default=True, help="Requests a second; max: as fast as answers come."
)
@click.option(
    "--duration",
    type=Quantity("duration", DURATION_MAX_MS, "1h"),
    default="10s",
    show_default=True,
    help="How long to measure.",
)
@click.option(
    "--warmup",
    type=Quantity("duration", DURATION_MAX_MS, "1h"),
    default="1s",
    show_default=True,
    help="Load before that, not counted; 0s: none.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, CONNECTIONS_MAX),
    default=64,
    show_default=True,
    help="Most connections; requests wait when all are busy.",
)
@click.option(
    "--timeout",
    type=Quantity("duration", DURATION_MAX_MS, "1h"),
    default="10s",
    show_default=True,
    help="For a response, once its request has a connection.",
)
@click.option("--method", default="GET", show_default=True, help="The method of the requests.")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with each request; may be given again."
)
@click.option(
    "--body-size",
    type=Quantity("size", BODY_MAX_BYTES, "64MiB"),
    default="0",
    show_default=True,
    help="Bytes uploaded with each request.",
)
@click.option("--close", is_flag=True, help="A new connection for each request.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    url: str,
    rate: float,
    duration: int,
    warmup: int,
    connections: int,
    timeout: int,
    method: str,
    headers: tuple[str, ...],
    body_size: int,
    close: bool,
    as_json: bool,
) -> int:
    """Measure the HTTP/1.1 service at URL under load.

    Latency counts from the moment at which a request was meant to start, so a service that stalls is charged for every
    request that it held up.
    """
    if duration == 0 or timeout == 0:
        raise click.UsageError("--duration and --timeout must be more than 0")
    parsed = parse_url(url)
    request = build_request(parsed, method.upper(), headers, body_size, close)
    host, port = resolve(parsed)
    allow_descriptors(connections)
    from fastmesh._core.load_generator import LoadGenerator

    generator = LoadGenerator(
        host,
        port,
        request,
        method=method.upper(),
        connections=connections,
        rate=rate,
        duration_s=duration / 1e3,
        warmup_s=warmup / 1e3,
        timeout_s=timeout / 1e3,
        close=close,
    )
    try:
        completed = measure(generator, (duration + warmup) / 1e3)
    finally:
        generator.close()
    found = summary(generator, parsed.geturl(), rate, completed)
    click.echo(json.dumps(found, indent=2) if as_json else table(found))
    return 0 if completed else 130
