"""The way back of definitions that an agent proposes: promised only where they leave everything as it was, rows too."""

from collections.abc import Iterable, Iterator, Sequence

from ostiary_tools.change import WayBack
from ostiary_tools.effects import Effects
from ostiary_tools.evolution import Step, read, reverse
from ostiary_tools.evolution.steps import Kind
from ostiary_tools.snapshot import Snapshot

_RENAMED = frozenset({Kind.RENAME_TABLE, Kind.RENAME_COLUMN})
_TABLES = frozenset({Kind.CREATE_TABLE, Kind.ADD_PARTITION})
_QUOTED = frozenset({Kind.DROP_CONSTRAINT, Kind.DROP_INDEX, Kind.DROP_DEFAULT, Kind.SET_DEFAULT, Kind.DROP_TYPE})
"""Made again as the catalog had them."""


def way_back(texts: Iterable[str], effects: Effects, snapshot: Snapshot) -> WayBack:
    """Of judged statements that had these effects on the snapshot's schema; nothing where they defined nothing."""
    if not effects.defined:
        return WayBack()
    changes = tuple(change for text in texts for change in read(text, snapshot))
    steps = [step for change in changes for step in change.steps]
    back = reverse(changes, snapshot)
    if reasons := (*_unlike(steps, effects), *back.reasons):
        return WayBack(lasting="; ".join(dict.fromkeys(reasons)))
    quotes = any(step.kind in _QUOTED for step in steps)
    return WayBack(back.statements, takes=", ".join(_taken(steps)), quotes=quotes)


def _unlike(steps: Sequence[Step], effects: Effects) -> Iterator[str]:
    """Why statements that undo the definitions would not undo the change."""
    if effects.tables:
        yield "rows were changed with the definitions"
    if len(steps) > 1 and any(step.kind in _RENAMED for step in steps):
        yield "a rename is taken back where it is all of the change"
    for step in steps:
        if step.kind is Kind.CHANGE_TYPE:
            yield f"{step.kind} `{step.name}`: its values may not come back as they were"


def _taken(steps: Sequence[Step]) -> Iterator[str]:
    """What was put into things that the change made goes with them."""
    made = {step.table for step in steps if step.kind in _TABLES}
    for step in steps:
        if step.kind in _TABLES:
            yield f"drops table {step.relation} with its rows"
        if step.kind is Kind.ADD_COLUMN and step.table not in made:
            yield f"drops column {step.relation}.{step.name} with what was written to it since"
