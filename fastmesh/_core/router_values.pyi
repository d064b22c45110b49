"""Tests of a route on headers and query parameters; internal to fastmesh._core.router."""
