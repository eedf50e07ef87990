"""Ostiary: the doorkeeper between AI agents and databases."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("ostiary")
