"""Who exists: endpoints whose address is a name, resolved again and again."""

from fastmesh.discovery.dns import DnsDiscovery, NameState

__all__ = ["DnsDiscovery", "NameState"]
