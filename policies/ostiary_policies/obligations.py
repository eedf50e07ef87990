"""Annotations of permits as terms, and how terms add up: the strictest wins.

- `@limit_rows("1000")` rows of a reply, a positive whole number
- `@limit_bytes("16000")` bytes of a reply's text in UTF-8, a positive whole number
- `@timeout("30s")` or `@timeout("2.5")` seconds a statement may run in the server, or a search take; the `s` may be left out
- `@max_cost("1e6")` or `@max_cost("250000")` the planner's cost a statement may be estimated at, a positive number
- `@max_rows_scanned("5000000")` rows a statement may be estimated to touch, a positive whole number
- `@replica("required")` statements run on a replica, and not at all where there is none
- `@budget_calls("60/minute")` and the others of `budgets`
- `@approval("human")` and the others of `approvals`
- `@taint("untrusted")` what the agent is tainted with by the call, a name; several behind commas
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields

from ostiary_policies import approvals, budgets
from ostiary_policies.model import Obligations

NONE = Obligations()
_SINGLE = ("limit_rows", "limit_bytes", "timeout", "max_cost", "max_rows_scanned", "approval", "replica", "taint")
NAMES = frozenset(_SINGLE) | budgets.NAMES
_ALONE = tuple(one.name for one in fields(Obligations) if one.name not in ("budgets", "approvals", "taints"))
"""Fields of `Obligations` that hold no more than one."""
REPLICA = "required"
"""The one word of `@replica`."""

_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_LARGE_COUNT = re.compile(r"[1-9][0-9]{0,14}")
_COST = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,3})?(?:e[0-9]{1,2})?", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)s?", re.ASCII)
_LONGEST_S = 86_400.0
_TAINT = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)


def from_annotations(annotations: Mapping[str, str]) -> Obligations:
    """Terms that these annotations state; others are left alone. Raises ValueError for a value out of its format."""
    return Obligations(
        limit_rows=_count(annotations, "limit_rows"),
        limit_bytes=_count(annotations, "limit_bytes"),
        timeout_s=_seconds(annotations, "timeout"),
        max_cost=_cost(annotations, "max_cost"),
        max_rows_scanned=_large_count(annotations, "max_rows_scanned"),
        replica=_replica(annotations),
        budgets=budgets.stated(annotations),
        approvals=approvals.stated(annotations),
        taints=_taints(annotations),
    )


def strictest(terms: Iterable[Obligations]) -> Obligations:
    """Take the least of each term over all that state it."""
    all_terms = tuple(terms)
    return Obligations(
        limit_rows=min((t.limit_rows for t in all_terms if t.limit_rows is not None), default=None),
        limit_bytes=min((t.limit_bytes for t in all_terms if t.limit_bytes is not None), default=None),
        timeout_s=min((t.timeout_s for t in all_terms if t.timeout_s is not None), default=None),
        max_cost=min((t.max_cost for t in all_terms if t.max_cost is not None), default=None),
        max_rows_scanned=min((t.max_rows_scanned for t in all_terms if t.max_rows_scanned is not None), default=None),
        replica=next((t.replica for t in all_terms if t.replica is not None), None),
        budgets=budgets.strictest(budget for t in all_terms for budget in t.budgets),
        approvals=approvals.strictest(approval for t in all_terms for approval in t.approvals),
        taints=frozenset(taint for t in all_terms for taint in t.taints),
    )


def stated(terms: Obligations) -> dict[str, int | float | str]:
    """The terms that are set, by name: numbers, and the others as their annotations write them."""
    single = {name: value for name in _ALONE if (value := getattr(terms, name)) is not None}
    taints = {"taint": ", ".join(sorted(terms.taints))} if terms.taints else {}
    return {**single, **budgets.written(terms.budgets), **approvals.written(terms.approvals), **taints}


def _count(annotations: Mapping[str, str], name: str) -> int | None:
    written = annotations.get(name)
    if written is None:
        return None
    if not _COUNT.fullmatch(written):
        raise ValueError(f"`@{name}` is a whole number from 1 to 999999999, not `{written}`")
    return int(written)


def _replica(annotations: Mapping[str, str]) -> str | None:
    written = annotations.get("replica")
    if written not in (None, REPLICA):
        raise ValueError(f"`@replica` is `{REPLICA}`, not `{written}`")
    return written


def _large_count(annotations: Mapping[str, str], name: str) -> int | None:
    written = annotations.get(name)
    if written is None:
        return None
    if not _LARGE_COUNT.fullmatch(written):
        raise ValueError(f"`@{name}` is a whole number from 1 to 999999999999999, not `{written}`")
    return int(written)


def _cost(annotations: Mapping[str, str], name: str) -> float | None:
    written = annotations.get(name)
    if written is None:
        return None
    if not _COST.fullmatch(written) or not float(written) > 0:
        raise ValueError(f"`@{name}` is a positive number such as `1e6` or `250000`, not `{written}`")
    return float(written)


def _taints(annotations: Mapping[str, str]) -> frozenset[str]:
    written = annotations.get("taint")
    taints = [] if written is None else [one.strip(" ") for one in written.split(",")]
    if not all(map(_TAINT.fullmatch, taints)):
        raise ValueError(f"`@taint` is a name such as `untrusted`, lower-case letters, digits, `_` and `-`, not `{written}`")
    return frozenset(taints)


def _seconds(annotations: Mapping[str, str], name: str) -> float | None:
    written = annotations.get(name)
    if written is None:
        return None
    found = _SECONDS.fullmatch(written)
    if not found or not 0 < float(found[1]) <= _LONGEST_S:
        raise ValueError(f"`@{name}` is a number of seconds up to one day, such as `30s`, not `{written}`")
    return float(found[1])
