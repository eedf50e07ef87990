"""Revisions of an Alembic environment, read from its files and never run: a file of Python could do anything."""

import ast
import configparser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostiary.exits import CommandFailed, Exit

_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Revision:
    """One file of `versions`."""

    id: str
    down: tuple[str, ...]
    """Those it follows; none for a first one."""
    message: str
    is_head: bool = False
    """Nothing follows it."""


def revisions(environment: Path) -> tuple[Revision, ...]:
    """All revisions of an environment, heads last. Raises CommandFailed."""
    folder = _versions(environment)
    found = [one for path in sorted(folder.rglob("*.py")) if (one := _read(path)) is not None]
    followed = {down for one in found for down in one.down}
    marked = [Revision(one.id, one.down, one.message, one.id not in followed) for one in found]
    return tuple(_in_order(marked))


def _versions(environment: Path) -> Path:
    """The folder of revisions; `alembic.ini` may say where it is."""
    candidates = [environment / "versions", environment / "alembic" / "versions", environment / "migrations" / "versions"]
    ini = environment if environment.is_file() else environment / "alembic.ini"
    if ini.is_file():
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(ini.read_text("utf-8"))
        except (OSError, configparser.Error, UnicodeDecodeError):
            raise CommandFailed(f"cannot read `{ini}`", "name the environment's folder", Exit.USAGE) from None
        location = parser.get("alembic", "script_location", fallback="alembic").replace("%(here)s", str(ini.parent))
        candidates.insert(0, ini.parent / location / "versions")
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise CommandFailed(f"`{environment}` holds no Alembic environment", "name the folder that has `versions` in it", Exit.USAGE)


def _read(path: Path) -> Revision | None:
    """What a file assigns to `revision` and `down_revision`; `None` for one that is no revision."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    values = dict(_assigned(tree))
    name = values.get("revision")
    if not isinstance(name, str):
        return None
    words = (ast.get_docstring(tree) or "").strip().split("\n", 1)[0]
    return Revision(name, _names(values.get("down_revision")), words)


def _assigned(tree: ast.Module) -> Iterator[tuple[str, object]]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                try:
                    yield target.id, ast.literal_eval(value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    continue


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(one) for one in value) if isinstance(value, tuple | list | set) else ()


def _in_order(found: Sequence[Revision]) -> Iterator[Revision]:
    """Each after those it follows; what follows nothing that is known comes first, and a circle last."""
    known = {one.id for one in found}
    told: set[str] = set()
    left = list(found)
    while left:
        ready = [one for one in left if all(down in told or down not in known for down in one.down)] or left
        yield from ready
        told.update(one.id for one in ready)
        left = [one for one in left if one not in ready]
