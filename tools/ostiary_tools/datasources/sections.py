"""SQL files of several queries: each stands under a line `-- :name`, or `-- :name 15` when servers before 15 lack its catalogs."""

import re
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple


class Section(NamedTuple):
    """One query of a file."""

    query: str
    since: int
    """The first major version that can run it."""


def load_sections(file: str, package: str = "ostiary_tools.datasources") -> Mapping[str, Section]:
    """The queries of a file of a package, by name, in order."""
    text = resources.files(package).joinpath(file).read_text("utf-8")
    parts = re.split(r"^-- :(\w+)(?: (\d+))?\n", text, flags=re.MULTILINE)
    return {name: Section(query, int(since or 0)) for name, since, query in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}
