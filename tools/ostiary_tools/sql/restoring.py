"""A recorded statement made whole again, to be judged once more and never to be run.

The audit log keeps a statement with `?` in the place of every constant. What a statement
touches follows from its names and not from its constants, so any will do that parse
in their places; the recorded fingerprint proves that nothing else became another.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

from pglast.parser import ParseError, fingerprint

_CONSTANT = re.compile(r'"(?:[^"]|"")*"|(?<![@?])(\?)(?![|&?]| [?$])')
"""A quoted name, which is left as it is, or the place of a constant; operators of `jsonb` are written with the same sign,
and no constant is followed by another."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A statement of the recorded form."""

    text: str
    parameter_count: int
    """The caller's own, and those that stand for constants."""


def restorations(redacted: str, parameter_count: int, wanted: str) -> Iterator[Restored]:
    """Each way that makes a statement of the wanted fingerprint: constants as parameters, as texts, as numbers."""
    constants = sum(bool(found[1]) for found in _CONSTANT.finditer(redacted))
    numbered = (f"${parameter_count + number}" for number in range(1, constants + 1))
    ways = [Restored(_filled(redacted, numbered), parameter_count + constants)]
    if constants:
        ways += [Restored(_filled(redacted, repeat(constant)), parameter_count) for constant in ("'1'", "1")]
    yield from (way for way in ways if _fingerprint(way.text) == wanted)


def _filled(redacted: str, constants: Iterator[str]) -> str:
    return _CONSTANT.sub(lambda found: next(constants) if found[1] else found[0], redacted)


def _fingerprint(text: str) -> str | None:
    try:
        return str(fingerprint(text))
    except ParseError:
        return None
