"""The admin API and its page: what the mesh knows, over HTTP."""

from fastmesh.admin.api import Api
from fastmesh.admin.mesh import Mesh
from fastmesh.admin.server import AdminServer

__all__ = ["AdminServer", "Api", "Mesh"]
