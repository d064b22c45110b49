"""`fastmesh schema`: the JSON Schema of the language, for editors."""

from __future__ import annotations

import json

import click

from fastmesh.config.json_schema import json_schema


@click.command(short_help="Print the JSON Schema of the configuration.")
def command() -> None:
    """Print the JSON Schema of a configuration file.

    \b
    Examples:
      fastmesh schema > fastmesh.schema.json
    In an editor with the YAML language server, the first line of a file is then
      # yaml-language-server: $schema=fastmesh.schema.json
    """
    click.echo(json.dumps(json_schema(), indent=2))
