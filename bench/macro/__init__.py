"""fastmesh, nginx, HAProxy and Envoy side by side, over the same upstream and the same work."""
