"""One connection of the load generator; nothing of it is for Python."""
