"""The trees of the router, and how they are built; internal to fastmesh._core.router."""
