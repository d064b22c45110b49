"""Certificates, keys, and what they prove."""
