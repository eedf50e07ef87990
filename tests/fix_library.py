"""The standard library's documentation as passages, drawn when a test runs; questions to it, and how well they are answered."""

import importlib
import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

CASES = Path(__file__).parent / "cases/meaning"
_LEAST = 60
"""Characters of a docstring that is a passage."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the passages that answer it."""

    text: str
    answers: frozenset[str]
    section: str
    """How it is asked: `names`, `meaning` or `mixed`."""


@dataclass(frozen=True, slots=True)
class Library:
    """Passages, and questions that some of them answer."""

    passages: dict[str, str]
    """Name → documentation, under its name. What several names share is there once, under the name where it is at home."""
    questions: list[Asked]


def library() -> Library:
    """What this Python has of it; a question nothing of which is there is left out."""
    names: dict[str, list[tuple[bool, int, str]]] = {}
    for name, text, at_home in _documented():
        names.setdefault(text, []).append((not at_home, len(name), name))
    called = {name: min(same)[2] for same in names.values() for _, _, name in same}
    asked = (replace(one, answers=frozenset(called[name] for name in one.answers & called.keys())) for one in _questions())
    return Library(
        {(name := min(same)[2]): f"{name}\n\n{text}" for text, same in names.items()}, [one for one in asked if one.answers]
    )


def _questions() -> Iterator[Asked]:
    section = ""
    for line in (CASES / "library_questions.txt").read_text().splitlines():
        if line.startswith("["):
            section = line[1 : line.index("]")]
        elif line and not line.startswith("#"):
            text, answers = line.rsplit(" | ", 1)
            yield Asked(text, frozenset(answers.split(", ")), section)


def gain(asked: Asked, answered: Sequence[str]) -> float:
    """The nDCG of the first ten, each answer worth the same."""
    reached = sum(1 / math.log2(place + 2) for place, name in enumerate(answered[:10]) if name in asked.answers)
    return reached / sum(1 / math.log2(place + 2) for place in range(min(10, len(asked.answers))))


def _documented() -> Iterator[tuple[str, str, bool]]:
    """Name, documentation, and whether it is at home in the module that it is imported from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for module in _modules():
            for name, thing, at_home in _public(module):
                text = inspect.cleandoc(thing.__doc__) if isinstance(thing.__doc__, str) else ""
                if len(text) >= _LEAST:
                    yield name, text, at_home


def _modules() -> list[str]:
    lines = (CASES / "library_modules.txt").read_text().splitlines()
    return " ".join(line for line in lines if not line.startswith("#")).split()


def _public(name: str) -> Iterator[tuple[str, object, bool]]:
    module = importlib.import_module(name)
    prefix = "" if name == "builtins" else f"{name}."
    for each in sorted(getattr(module, "__all__", None) or (n for n in vars(module) if not n.startswith("_"))):
        thing = getattr(module, each, None)
        at_home = (getattr(thing, "__module__", None) or name).split(".")[0].lstrip("_") == name.split(".", maxsplit=1)[0]
        if inspect.isroutine(thing) or inspect.isclass(thing):
            yield f"{prefix}{each}", thing, at_home
        if inspect.isclass(thing):
            for key, member in sorted(vars(thing).items()):
                inner = getattr(member, "__func__", member)
                if not key.startswith("_") and (inspect.isroutine(inner) or isinstance(inner, property)):
                    yield f"{prefix}{each}.{key}", inner, at_home
