"""Find tools by entry point. Ours come through the same door as a third party's.

A pack is an object of the entry point group `ostiary.tools`: a function without
arguments that returns the tools.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ostiary_tools.api import Surface, Tool

GROUP = "ostiary.tools"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

Registry = Mapping[tuple[Surface, str], Tool[Any]]


class PackError(Exception):
    """A tool pack that cannot be used; the message names it and the mend."""


def discover(points: Iterable[EntryPoint] | None = None) -> Registry:
    """All tools of all installed packs, by surface and name.

    Raises PackError for a pack that cannot be loaded, a malformed name, or a name
    that two packs claim: which of them an agent would get must not depend on the
    order of installation.
    """
    found: dict[tuple[Surface, str], Tool[Any]] = {}
    origin: dict[tuple[Surface, str], str] = {}
    for point in points if points is not None else sorted(entry_points(group=GROUP), key=lambda p: p.name):
        for tool in _load(point):
            key = (tool.surface, tool.name)
            if not _NAME.fullmatch(tool.name):
                raise PackError(f"tool pack `{point.name}`: `{tool.name}` is no tool name; use lower case letters, digits and `_`")
            if tool.surface is Surface.RESOURCE and not isinstance(getattr(tool, "uri", None), str):
                raise PackError(f"tool pack `{point.name}`: the resource `{tool.name}` has no `uri`")
            if key in found:
                raise PackError(f"tool `{tool.name}` comes from both `{origin[key]}` and `{point.name}`; uninstall one of them")
            found[key], origin[key] = tool, point.name
    return found


def _load(point: EntryPoint) -> Iterable[Tool[Any]]:
    try:
        tools: Iterable[Tool[Any]] = point.load()()
        return tuple(tools)
    except Exception as error:  # whatever a third party's import raises, the start stops and says whose it was
        raise PackError(f"tool pack `{point.name}` ({point.value}) cannot be loaded: {error}") from error
