"""TLS of connections."""

FAILURES: tuple[str, ...]
"""Why a handshake failed, by index of ListenerStats.tls_failures; [0] is empty: it did not."""
