"""`fastmesh sidecar`: an application with a proxy beside it, registered for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Value = TypeVar("Value")


@click.command(
    epilog="""\b
Signals:
  SIGTERM, SIGINT   deregister, drain, pass it on to COMMAND; a second one cuts the drain short
  SIGHUP, SIGUSR1   to COMMAND, and to the proxy (reload; open the log file again)
  SIGUSR2           to COMMAND
\b
Examples:
  fastmesh sidecar --service hello --port 9001 --registry /run/fastmesh -- ./hello --port 9001
  fastmesh sidecar --service hello --port 9001 --config config/ --label version=v2 -- ./hello
""",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--service", required=True, metavar="NAME", help="The service that COMMAND is an instance of.")
@click.option("--port", required=True, type=click.IntRange(1, 65535), help="Where COMMAND accepts connections.")
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="The IP address or name under which others reach it."
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label to be chosen by; any number.")
@click.option("--weight", type=click.IntRange(0, 10_000), default=1, show_default=True, help="Its share of requests.")
@click.option("--config", type=click.Path(path_type=Path), metavar="DIR", help="Run a proxy of this directory, too.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes of the proxy that carry traffic.",
)
@click.option(
    "--registry",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the lease is written.  [default: `registry` in the directory of --config]",
)
@click.option(
    "--ttl", default="15s", show_default=True, metavar="TIME", help="The lease ends so long after the last renewal."
)
@click.option(
    "--drain",
    default="30s",
    show_default=True,
    metavar="TIME",
    help="At the end: the most to wait for connections to close before the signal is passed on.",
)
@click.option(
    "--start-timeout",
    default="60s",
    show_default=True,
    metavar="TIME",
    help="For the proxy, and then for COMMAND's port.",
)
@click.option("--kill-after", default="10s", show_default=True, metavar="TIME", help="Then SIGKILL follows the signal.")
@click.argument("application", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
def command(**options: Any) -> int:
    """Run COMMAND as an instance of a service: registered while it answers, drained before it ends.

    Ends with COMMAND, and with its exit code.
    """
    from fastmesh.config.addresses import join_address, read_endpoint_address
    from fastmesh.config.quantities import read_duration
    from fastmesh.config.words import read_name
    from fastmesh.lease import TTL_MAX_S, TTL_MIN_S, Lease
    from fastmesh.sidecar import Plan, Sidecar

    config, registry = options["config"], options["registry"]
    if config is None and registry is None:
        raise click.UsageError("give --registry, or --config with a directory for a proxy", click.get_current_context())
    if config is not None and not config.is_dir():
        raise click.ClickException(f"--config: {config} is not a directory")

    def seconds(option: str) -> float:
        return _read("--" + option.replace("_", "-"), read_duration, options[option]) / 1000

    ttl_s = seconds("ttl")
    if not TTL_MIN_S <= ttl_s <= TTL_MAX_S:
        raise click.UsageError(f"--ttl: from {TTL_MIN_S:g}s to {TTL_MAX_S / 3600:g}h")
    lease = Lease(
        service=_read("--service", read_name, options["service"]),
        address=_read("--address", read_endpoint_address, join_address(options["address"], options["port"])),
        ttl_s=ttl_s,
        labels=dict(_label(text) for text in options["labels"]),
        weight=options["weight"],
    )
    plan = Plan(
        lease,
        registry if registry is not None else config / "registry",
        options["application"],
        config,
        options["workers"],
        seconds("drain"),
        seconds("start_timeout"),
        seconds("kill_after"),
    )
    return Sidecar(plan).run()


def _label(text: str) -> tuple[str, str]:
    from fastmesh.config.words import read_label

    name, _, value = text.partition("=")
    return _read("--label", read_label, name), _read("--label", read_label, value)


def _read(option: str, read: Callable[[str], Value], text: str) -> Value:
    from fastmesh.config.problem import InvalidText, quoted

    try:
        return read(text)
    except InvalidText as error:
        why = error.message or error.hint or "see --help"
        raise click.UsageError(f"{option}: bad value {quoted(text)}: {why}") from None
