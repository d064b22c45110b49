"""`python -m fastmesh`."""

from fastmesh.cli.main import main

main()
