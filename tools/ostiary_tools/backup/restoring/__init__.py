"""Backups made into something new."""
