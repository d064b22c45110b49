"""round_robin; internal to fastmesh._core.balancer."""
