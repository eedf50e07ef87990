"""What another policy set would change: its policies one by one, and its answers to given questions.

Two policies are the same when Cedar reads the same in them, whatever their layout,
comments, file and line. Two answers are the same when both allow on the same terms or
both deny; which rules say so may differ.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ostiary_policies import cedar
from ostiary_policies.cases import Case
from ostiary_policies.cedar import Policy, PolicySet
from ostiary_policies.engine import Engine, Verdict
from ostiary_policies.model import Access, Principal

_PARTS: Mapping[str, str] = {
    "principal": "it is about other agents",
    "action": "it is about other actions",
    "resource": "it is about other resources",
    "conditions": "its conditions are others",
}


class Change(StrEnum):
    """What became of a policy."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy that is not the same in both sets, by its `@id`."""

    id: str
    change: Change
    sentences: tuple[str, ...]
    """Of a changed one: what of it."""
    before: Policy | None
    after: Policy | None


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A question that is answered otherwise."""

    case: Case
    before: Verdict
    after: Verdict


def policy_changes(before: PolicySet, after: PolicySet) -> list[PolicyChange]:
    """In the order of the sets: those that are gone, then those that are new or changed."""
    gone = [
        PolicyChange(name, Change.REMOVED, (), policy, None)
        for name, policy in before.policies.items()
        if name not in after.policies
    ]
    return gone + [
        change for name, policy in after.policies.items() if (change := _changed(name, before.policies.get(name), policy))
    ]


def case_changes(before: Engine, after: Engine, cases: Iterable[Case]) -> list[CaseChange]:
    """The cases that come out differently; what a table expects does not matter here."""
    judged = (CaseChange(case, before.allows(*_asked(case)), after.allows(*_asked(case))) for case in cases)
    return [change for change in judged if _answer(change.before) != _answer(change.after)]


def _changed(name: str, before: Policy | None, after: Policy) -> PolicyChange | None:
    if before is None:
        return PolicyChange(name, Change.ADDED, (), None, after)
    sentences = tuple(_differences(cedar.form(before), cedar.form(after)))
    return PolicyChange(name, Change.CHANGED, sentences, before, after) if sentences else None


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if before["effect"] != after["effect"]:
        yield f"it is a `{after['effect']}` and was a `{before['effect']}`"
    old, new = (form.get("annotations") or {} for form in (before, after))
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f'`@{name}("{old[name]}")` is gone'
        elif name not in old:
            yield f'`@{name}("{new[name]}")` is new'
        elif old[name] != new[name]:
            yield f'`@{name}` is "{new[name]}" and was "{old[name]}"'
    yield from (words for part, words in _PARTS.items() if before[part] != after[part])


def _asked(case: Case) -> tuple[Principal, Access]:
    return case.principal, case.access


def _answer(verdict: Verdict) -> object:
    return verdict.allowed, verdict.obligations
