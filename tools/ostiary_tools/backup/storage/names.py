"""Names of what lies in a repository: the same wherever it lies."""

import re

_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


def is_name(name: str) -> bool:
    """Whether it can be that of a file or a folder of ours."""
    return _STEP.fullmatch(name) is not None


def steps(name: str) -> list[str]:
    """The parts of a name. Raises ValueError: names are ours or were checked, so another one is a mistake or an attack."""
    found = name.split("/") if name else []
    if not all(map(_STEP.fullmatch, found)):
        raise ValueError("no name of a file in a repository")
    return found
