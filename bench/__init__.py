"""Benchmarks: micro (pytest-benchmark) and macro (side by side with other proxies)."""
