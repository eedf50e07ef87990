"""Texts in pieces that an embedder reads whole, cut where they have joints."""
