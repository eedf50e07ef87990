"""From a sampled column to the evidence for tags. Pure: nothing is read, kept or told besides counts."""

from collections.abc import Sequence

from ostiary_tools.classification import people
from ostiary_tools.classification.column import Evidence, Family, Sampled, snake
from ostiary_tools.classification.kinds import KINDS, PEOPLE, Kind, Test

_LEAST = 5
"""Different values that must pass where the name does not tell, so that a lucky few say nothing."""
_LEAST_WITHIN = 2
_MEANT = 0.5
"""Share of the values that must be plausible for a telling name to count."""


def detect(column: Sampled) -> tuple[Evidence, ...]:
    """The evidence for each tag that the column seems to need, in the order of the kinds."""
    found = [evidence for kind in KINDS if (evidence := _of_kind(kind, column)) is not None]
    # What stands within values that are recognised themselves is part of them.
    recognised = any(not evidence.within for evidence in found)
    return tuple(evidence for evidence in found if not (evidence.within and recognised))


def _of_kind(kind: Kind, column: Sampled) -> Evidence | None:
    if column.family in kind.families:
        scheme, passed = _best(kind, column.values)
        named = _is_named(kind, column)
        if named or _tells_itself(kind, column, passed):
            tested = bool(kind.schemes)
            return Evidence(kind.name, kind.tag, scheme, named, tested, len(passed), len(column.values))
    return _within(kind, column)


def _best(kind: Kind, values: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The form that most of the values have, by its name, and those that have it."""
    passed = [(name, [value for value in values if test(value)]) for name, test in kind.schemes]
    best = max(passed, key=lambda one: len(one[1]), default=("", []))
    return best if best[1] else ("", [])


def _is_named(kind: Kind, column: Sampled) -> bool:
    name = snake(column.name)
    told = kind.words.search(name) is not None
    plausible: Test = kind.plausible
    if kind.name == "name" and name == "name" and PEOPLE.search(snake(column.table)):
        told, plausible = True, people.is_full_name
    return told and _share(plausible, column.values) >= _MEANT


def _share(test: Test, values: Sequence[str]) -> float:
    """One where there are no values: then the name is all there is."""
    return sum(map(test, values)) / len(values) if values else 1.0


def _tells_itself(kind: Kind, column: Sampled, passed: Sequence[str]) -> bool:
    return len(passed) >= kind.share * len(column.values) and len(set(passed)) >= _LEAST


def _within(kind: Kind, column: Sampled) -> Evidence | None:
    """Things that stand in texts and documents, which no name foretells."""
    if kind.within is None or column.family not in (Family.TEXT, Family.DOCUMENT):
        return None
    holding = [value for value in column.values if kind.within(value)]
    if len(set(holding)) < _LEAST_WITHIN or len(holding) < kind.within_share * len(column.values):
        return None
    return Evidence(kind.name, kind.tag, matched=len(holding), sampled=len(column.values), within=True)
