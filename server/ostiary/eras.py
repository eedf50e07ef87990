"""The protocol has two eras: sessions opened by `initialize` until 2025, requests that say all themselves since 2026."""

MODERN = "2026-07-28"
"""The first version of the newer one. Versions are dates, and compare as text."""
