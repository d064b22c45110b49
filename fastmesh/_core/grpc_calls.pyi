"""Counts of gRPC calls by service, method and status, in shared memory."""

from fastmesh._core.shared import SharedMemory

STATUSES: tuple[str, ...]
"""The names of gRPC's statuses, by number."""

def grpc_calls(shared: SharedMemory) -> list[tuple[int, str, tuple[int, ...], int]]:
    """Summed over workers: id of the mesh's service, path, calls by status, all their time in microseconds.

    The statuses are gRPC's 0 to 16; place 17 counts calls without any. Service 0 with an empty path counts what has no
    row of its own.
    """

def count(shared: SharedMemory, worker: int, service_id: int, path: bytes, is_known: bool, status: int) -> None:
    """Count a call of one microsecond, as a worker does in C. For tests. Raises IndexError."""
