"""random, least_request and peak_ewma; internal to fastmesh._core.balancer."""
