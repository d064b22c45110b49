"""ring_hash and maglev; internal to fastmesh._core.balancer."""
