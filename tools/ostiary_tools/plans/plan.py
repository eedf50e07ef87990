"""A plan as the server answered it, as values.

Read from `EXPLAIN (FORMAT JSON, VERBOSE)`, because only a verbose plan says the schema
of a relation and puts an alias before every column. A plan that lacks a number is not
read at all: what cannot be weighed must not run.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pglast.parser import ParseError, scan

from ostiary_tools.errors import Refused

Name = tuple[str, str]
"""Schema and name."""

_CONDITIONS = ("Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "TID Cond", "Join Filter", "Filter", "One-Time Filter")
_KEYS = ("Sort Key", "Group Key")
FILTERS = frozenset({"Filter", "One-Time Filter"})
"""Conditions that drop rows after they were fetched."""


@dataclass(frozen=True, slots=True)
class Step:
    """One node. Costs are of running it to its end once, in the planner's units."""

    kind: str
    """PostgreSQL's word: `Seq Scan`."""
    startup: float
    cost: float
    rows: float
    """What it gives each time it runs; one worker's part when it is `parallel`."""
    relation: Name | None = None
    alias: str = ""
    """Unique in the plan."""
    function: str = ""
    index: str = ""
    join: str = ""
    """`Inner`, `Left`, `Semi` … of a join, else empty."""
    role: str = ""
    """What it is to the step above: `Outer`, `Inner`, `Member`, `Subquery`, `InitPlan`, `SubPlan`, or empty."""
    name: str = ""
    """Of an InitPlan or SubPlan, as conditions refer to it."""
    conditions: tuple[tuple[str, str], ...] = ()
    """PostgreSQL's word for each and its text."""
    keys: tuple[str, ...] = ()
    """Of a sort or a grouping, as text."""
    parallel: bool = False
    """Its workers share the rows instead of each reading all."""
    workers: int = 0
    hashed: frozenset[str] = frozenset()
    """Names of the SubPlans below that run once, into a hash table."""
    parts: tuple["Step", ...] = ()

    def has(self, *kinds: str) -> bool:
        """Whether it has a condition of any of these kinds."""
        return any(kind in kinds for kind, _ in self.conditions)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan, and what of the server it takes to weigh it."""

    top: Step
    tables: Mapping[Name, float]
    """All rows of each relation it scans, as the planner would estimate them."""
    row_cost: float = 0.0125
    """The least the planner charges for fetching a row and testing it."""

    def steps(self) -> Iterator[Step]:
        """Every step, from the top."""
        return walk(self.top)


NOTHING_RUNS = Plan(Step("Result", 0.0, 0.0, 0.0), {})
"""What an EXPLAIN costs: it runs nothing."""


def walk(step: Step) -> Iterator[Step]:
    """The step and all below it, each before what is below it."""
    waiting = [step]
    while waiting:
        found = waiting.pop()
        yield found
        waiting.extend(reversed(found.parts))


def read_plan(text: str) -> Step:
    """The top step of the server's JSON. Raises Refused when anything that must be known is missing."""
    try:
        (explained,) = json.loads(text)
        return _step(explained["Plan"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise unreadable() from None


def unreadable() -> Refused:
    """The refusal of a statement whose plan the server did not give in a form that can be weighed."""
    return Refused("plan", "the server's plan of the statement cannot be read, so it is not run", "write it in a simpler form")


def _step(node: Mapping[str, Any]) -> Step:
    relation = node.get("Relation Name")
    texts = [(kind, str(node[kind])) for kind in _CONDITIONS if kind in node]
    parts = tuple(_step(part) for part in node.get("Plans", ()))
    return Step(
        kind=str(node["Node Type"]),
        startup=_number(node["Startup Cost"]),
        cost=_number(node["Total Cost"]),
        rows=_number(node["Plan Rows"]),
        relation=None if relation is None else (str(node["Schema"]), str(relation)),
        alias=str(node.get("Alias", "")),
        function=str(node.get("Function Name", "")),
        index=str(node.get("Index Name", "")),
        join=str(node.get("Join Type", "")),
        role=str(node.get("Parent Relationship", "")),
        name=str(node.get("Subplan Name", "")),
        conditions=tuple(texts),
        keys=tuple(str(key) for kind in _KEYS for key in node.get(kind, ())),
        parallel=node.get("Parallel Aware") is True,
        workers=int(node.get("Workers Planned", 0)),
        hashed=_hashed(node) if any(part.role == "SubPlan" for part in parts) else frozenset(),
        parts=parts,
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
        raise ValueError("a plan's number is none")
    return float(value)


def _hashed(node: Mapping[str, Any]) -> frozenset[str]:
    """SubPlans that the step's expressions call hashed.

    Told by tokens and not by text: a string that says `hashed SubPlan 1` is one token, and makes none hashed.
    """
    found: set[str] = set()
    for value in node.values():
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and "hashed SubPlan" in text:
                found.update(_hashed_in(text))
    return frozenset(found)


def _hashed_in(text: str) -> Iterator[str]:
    try:
        words = [text[token.start : token.end + 1] for token in scan(text)]
    except (ParseError, UnicodeError):
        return
    for one, other, number in zip(words, words[1:], words[2:], strict=False):
        if (one, other) == ("hashed", "SubPlan"):
            yield f"{other} {number}"
