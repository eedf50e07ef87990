"""Policy text from disk: shipped bundles and the owner's own files, read and validated away from the event loop.

Serves the old set until a new one is valid. A file that cannot be read or is no UTF-8
is a problem like any other: the whole set is refused.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Self

from ostiary_policies.attributes import AttributeType
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError, Problem

BUNDLES = ("observer", "analyst", "engineer", "operator", "auditor")
"""Shipped with the package; each file says for whom it is."""


class Policies:
    """The policies in force. Only `reload` changes them."""

    def __init__(self, engine: Engine, directory: Path | None, bundles: tuple[str, ...]) -> None:
        self._engine = engine
        self._directory = directory
        self._bundles = bundles
        self._reloading = asyncio.Lock()

    @classmethod
    async def load(
        cls, directory: Path | None, bundles: tuple[str, ...], tags: frozenset[str], attributes: Mapping[str, AttributeType]
    ) -> Self:
        """Read and validate. Raises PolicyError with every problem found."""
        return cls(await asyncio.to_thread(read, directory, bundles, tags, attributes), directory, bundles)

    @property
    def engine(self) -> Engine:
        """The engine in force. A call keeps the one it began with."""
        return self._engine

    async def reload(self) -> tuple[str, str]:
        """Read the same places again; return the hash before and after. Raises PolicyError and then keeps what is in force."""
        async with self._reloading:
            before = self._engine.policies
            self._engine = await asyncio.to_thread(read, self._directory, self._bundles, before.tags, before.attributes)
            return before.hash, self._engine.policy_hash


async def load(
    directory: Path | None,
    *,
    bundles: tuple[str, ...] = BUNDLES,
    tags: frozenset[str] = frozenset(),
    attributes: Mapping[str, AttributeType] = MappingProxyType({}),
) -> Policies:
    """Load the shipped bundles named here and the `*.cedar` files of the directory. Raises PolicyError."""
    return await Policies.load(directory, bundles, tags, attributes)


def read(
    directory: Path | None,
    bundles: tuple[str, ...],
    tags: frozenset[str],
    attributes: Mapping[str, AttributeType] = MappingProxyType({}),
) -> Engine:
    """Read and validate, blocking. Raises PolicyError."""
    problems: list[Problem] = []
    texts = dict(_shipped(bundles, problems))
    if directory is not None:
        texts |= _texts(_own(directory, problems), problems)
    if problems:
        raise PolicyError(tuple(problems))
    return Engine(PolicySet.parse(texts, tags, attributes))


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
            yield path.name, path.read_text("utf-8")
        except OSError as error:
            problems.append(Problem(path.name, 0, "", f"it cannot be read: {_why(error)}"))
        except UnicodeDecodeError as error:
            problems.append(Problem(path.name, 0, "", f"it is not UTF-8 at byte {error.start}"))


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
