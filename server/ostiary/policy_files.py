"""Policy text from disk: shipped bundles and the owner's own files, read and validated away from the event loop.

What is in force is replaced whole or not at all; `policy_watch` says when. A file that cannot be read or is no UTF-8
is a problem like any other: the whole set is refused.
"""

import asyncio
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from ostiary.redaction import printable
from ostiary_policies import source
from ostiary_policies.attributes import AttributeType
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError, Problem

BUNDLES = ("observer", "analyst", "engineer", "operator", "auditor", "curator", "custodian")
"""Shipped with the package; each file says for whom it is."""
_MOST_BYTES = 4_000_000
"""Of a file. They are read whole and often; no pipe or device is read at all."""


@dataclass(frozen=True, slots=True)
class Found:
    """The owner's files at one look."""

    texts: Mapping[str, str]
    """By name; of those that could be read."""
    problems: tuple[Problem, ...] = ()


class Policies:
    """The policies in force. Only `put_in_force` changes them, all at once and for calls that begin afterwards."""

    def __init__(self, engine: Engine, directory: Path | None, shipped: Mapping[str, str]) -> None:
        """`shipped` are the bundles as they were at the start: those of a newer installation are for a newer server."""
        self._engine = engine
        self._shipped = shipped
        self.directory = directory
        """Of the owner's files, if there are any."""
        self.refused = ""
        """Why what is in the files is not in force, in a sentence; empty while it is."""

    @property
    def engine(self) -> Engine:
        """The engine in force. A call keeps the one it began with."""
        return self._engine

    def put_in_force(self, engine: Engine) -> None:
        """Decide by it from now on."""
        self._engine = engine
        self.refused = ""

    def look(self) -> Found:
        """Read the owner's files again; blocks for as long as the file system does."""
        return own_files(self.directory) if self.directory is not None else Found({})

    def in_force(self, found: Found) -> bool:
        """Whether these files are the set that decides now."""
        return not found.problems and source.digest({**self._shipped, **found.texts}) == self._engine.policy_hash

    def judged(self, found: Found) -> Engine:
        """The set of these files, whole and valid; blocking. Raises PolicyError with every problem found."""
        if found.problems:
            raise PolicyError(found.problems)
        before = self._engine.policies
        return Engine(PolicySet.parse({**self._shipped, **found.texts}, before.tags, before.attributes))


async def load(
    directory: Path | None,
    *,
    bundles: tuple[str, ...] = BUNDLES,
    tags: frozenset[str] = frozenset(),
    attributes: Mapping[str, AttributeType] = MappingProxyType({}),
) -> Policies:
    """Load the shipped bundles named here and the `*.cedar` files of the directory. Raises PolicyError with every problem found."""
    return await asyncio.to_thread(_loaded, directory, bundles, tags, attributes)


def read(
    directory: Path | None,
    bundles: tuple[str, ...],
    tags: frozenset[str],
    attributes: Mapping[str, AttributeType] = MappingProxyType({}),
) -> Engine:
    """Read and validate, blocking. Raises PolicyError."""
    return _loaded(directory, bundles, tags, attributes).engine


def read_path(path: Path, bundles: tuple[str, ...], tags: frozenset[str], attributes: Mapping[str, AttributeType]) -> Engine:
    """As `read`, of one file or of a directory. Raises PolicyError."""
    problems: list[Problem] = []
    own = Found(dict(_texts([path], problems)), tuple(problems)) if path.is_file() else own_files(path)
    return _parsed(own, bundles, tags, attributes)[0]


def own_files(directory: Path) -> Found:
    """Read the `*.cedar` files of the directory; a directory without one is a problem."""
    problems: list[Problem] = []
    texts = dict(_texts(_own(directory, problems), problems))
    return Found(texts, tuple(problems))


def _loaded(
    directory: Path | None, bundles: tuple[str, ...], tags: frozenset[str], attributes: Mapping[str, AttributeType]
) -> Policies:
    own = own_files(directory) if directory is not None else Found({})
    engine, shipped = _parsed(own, bundles, tags, attributes)
    return Policies(engine, directory, shipped)


def _parsed(
    own: Found, bundles: tuple[str, ...], tags: frozenset[str], attributes: Mapping[str, AttributeType]
) -> tuple[Engine, Mapping[str, str]]:
    unknown: list[Problem] = []
    shipped = dict(_shipped(bundles, unknown))
    if problems := (*unknown, *own.problems):
        raise PolicyError(problems)
    return Engine(PolicySet.parse({**shipped, **own.texts}, tags, attributes)), shipped


def _shipped(bundles: Iterable[str], problems: list[Problem]) -> Iterator[tuple[str, str]]:
    folder = files("ostiary_policies").joinpath("bundles")
    for bundle in bundles:
        if bundle in BUNDLES:
            yield f"bundles/{bundle}.cedar", folder.joinpath(f"{bundle}.cedar").read_text("utf-8")
        else:
            problems.append(Problem(bundle, 0, "", f"unknown bundle `{bundle}`", f"shipped are {', '.join(BUNDLES)}"))


def _own(directory: Path, problems: list[Problem]) -> list[Path]:
    try:
        found = sorted(path for path in directory.iterdir() if path.suffix == ".cedar")
    except OSError as error:
        problems.append(Problem(str(directory), 0, "", f"the policy directory cannot be read: {_why(error)}"))
        return []
    if not found:
        problems.append(
            Problem(str(directory), 0, "", "there is no `*.cedar` file in it", "write one, or do not name the directory")
        )
    return found


def _texts(paths: Iterable[Path], problems: list[Problem]) -> Iterator[tuple[str, str]]:
    for path in paths:
        try:
            path.name.encode()  # the hash is of names too
            found = path.stat()
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                problems.append(Problem(path.name, 0, "", "it is no file"))
            elif found.st_size > _MOST_BYTES:
                problems.append(Problem(path.name, 0, "", f"it is larger than {_MOST_BYTES:,} bytes", "split it"))
            else:
                yield path.name, path.read_text("utf-8")
        except UnicodeEncodeError:
            problems.append(Problem(printable(path.name), 0, "", "its name is not UTF-8"))
        except OSError as error:
            problems.append(Problem(path.name, 0, "", f"it cannot be read: {_why(error)}"))
        except UnicodeDecodeError as error:
            problems.append(Problem(path.name, 0, "", f"it is not UTF-8 at byte {error.start}"))


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
