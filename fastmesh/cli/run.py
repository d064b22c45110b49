"""`fastmesh run`: serve a directory until told to stop."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path

import click

WORKERS_MAX = 64


@click.command(
    epilog="""\b
Signals (to the first process):
  SIGTERM, SIGINT  finish what runs, then end; a second one ends at once
  SIGHUP           read the directory now
  SIGUSR1          open the access log file again
\b
Examples:
  fastmesh run config/
  fastmesh run /etc/fastmesh --workers 4
"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    help="Processes that carry traffic.  [default: one for each CPU]",
)
def command(directory: Path, workers: int | None) -> int:
    """Serve the mesh that the YAML files of DIRECTORY describe; edits take effect at once."""
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise click.ClickException(f"{directory} {what}; give the directory that holds your *.yaml files")
    from fastmesh import launcher, worker

    worker_count = workers or min(len(os.sched_getaffinity(0)), WORKERS_MAX)
    return launcher.launch(partial(_supervise, directory, worker_count), worker.main)


def _supervise(directory: Path, worker_count: int, sock: socket.socket) -> int:
    """Imports the control plane here, after the fork: workers have no use for it."""
    from fastmesh import app, supervisor

    return supervisor.run(sock, partial(app.serve, directory, worker_count))
