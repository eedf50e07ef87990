"""Backups that another tool makes and keeps: read as it tells of them, and drilled; never changed."""
