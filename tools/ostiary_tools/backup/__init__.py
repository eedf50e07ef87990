"""Backups that are proven to restore: taken by PostgreSQL's own tools, kept sealed and encrypted, restored to something new."""
