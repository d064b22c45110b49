"""Active health checks: run once a node, in the supervisor; workers read the results from shared memory."""

from fastmesh.health.checker import HealthChecker
from fastmesh.health.checks import checked_services
from fastmesh.health.model import Check, CheckedService, CheckKind, EndpointHealth, HealthFlags

__all__ = ["Check", "CheckKind", "CheckedService", "EndpointHealth", "HealthChecker", "HealthFlags", "checked_services"]
