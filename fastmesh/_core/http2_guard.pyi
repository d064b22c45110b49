"""What an HTTP/2 peer may do how often before it is cut off."""

ATTACKS: tuple[str, ...]
"""Names of the kinds, by index in WorkerStats.http2_attacks."""
