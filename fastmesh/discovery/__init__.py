"""Who exists: endpoints whose addresses are names, and endpoints that sources find, followed for as long as we run."""

from fastmesh.discovery.directory import SUFFIXES, list_files
from fastmesh.discovery.discovery import Discovery
from fastmesh.discovery.dns import DnsDiscovery, NameState
from fastmesh.discovery.source import Source

__all__ = ["SUFFIXES", "Discovery", "DnsDiscovery", "NameState", "Source", "list_files"]
