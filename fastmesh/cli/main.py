"""The command line: each command stands in a file of its own, which is imported when it is asked for."""

from __future__ import annotations

import importlib
import sys

import click

from fastmesh import __version__

COMMANDS = {
    "run": "Run the mesh of a directory.",
    "sidecar": "Run an application, registered, with a proxy beside it.",
    "check": "Check a directory and say what is wrong.",
    "explain": "Tell what becomes of one request, and why.",
    "diff": "Tell what changes between two directories.",
    "schema": "Print the JSON Schema of the configuration.",
    "status": "Show a running mesh.",
    "bench": "Measure a service at a fixed rate.",
}
"""In the order of the help; the text is what the list shows, so that the list imports nothing."""

EXAMPLES = """\b
Examples:
  fastmesh check config/           is it right?
  fastmesh run config/             serve it; edits take effect at once
  fastmesh status                  what is served, by whom, and how it goes
  fastmesh explain config/ GET /   which route takes this request, and why
  fastmesh schema > schema.json    completion in your editor
"""


class LazyGroup(click.Group):
    """A group that finds `command` in fastmesh/cli/NAME.py."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"fastmesh.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0]!r}; there are {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", message="fastmesh %(version)s")
def cli() -> None:
    """A service mesh: a directory of YAML files, a request path compiled to C."""


def main() -> None:
    """Run the program: one clear line for an error, never a traceback for what the user can mend."""
    try:
        result = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.UsageError as error:
        hint = f"; see {error.ctx.command_path} --help" if error.ctx is not None else ""
        _fail(f"{error.format_message().rstrip('.')}{hint}", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except BrokenPipeError:
        sys.exit(1)  # whoever read our output has gone
    except OSError as error:
        _fail(str(error), 1)
    sys.exit(result if isinstance(result, int) else 0)


def _fail(message: str, exit_code: int) -> None:
    print(f"fastmesh: {message}", file=sys.stderr)
    sys.exit(exit_code)
