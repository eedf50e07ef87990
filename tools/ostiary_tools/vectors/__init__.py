"""Searching by meaning: collections, the stores that keep them, and what is found."""
