"""Why a request failed, or was answered by the proxy itself; see docs/operations.md for what to do about each."""

NAMES: tuple[str, ...]
"""The code of each reason as it stands in header, log and metric, by index; [0] is empty: nothing failed."""

STATUSES: tuple[int, ...]
"""The HTTP status that each reason is answered with; 0: the connection just ends."""

TEXTS: tuple[str, ...]
"""One sentence for people, by index."""
