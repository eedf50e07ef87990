"""Databases behind one port, and the only modules that import their drivers."""
