"""What Cedar's validator lets pass and a doorkeeper must not.

Works on one policy in Cedar's JSON format. Most of these would make a `forbid` that
never applies: a misspelt tag, the id of a table without its schema, a question about
an entity that a request does not carry. Such a forbid is a hole nobody sees.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ostiary_policies import entities, masks, obligations
from ostiary_policies.actions import Action
from ostiary_policies.attributes import TAINTS

TAGS = frozenset({"pii", "secret"})
"""Tags every installation has; `pii:<kind>` too. Others are declared in the configuration."""

_KIND_OF_PII = re.compile(r"pii:[a-z0-9_]+")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VOLATILITIES = frozenset({"immutable", "stable", "volatile"})
_COMPARISONS = ("==", "!=", "contains", "containsAll", "containsAny")
_TAINTS = {"left": {"Var": "principal"}, "attr": TAINTS}
_RESOURCES = frozenset(kind.__name__ for kind in entities.RESOURCES)

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """What the configuration declares beside the built-in vocabulary."""

    tags: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    """Of agents."""


def known_tag(tag: str, declared: frozenset[str]) -> bool:
    """Whether the tag is in the vocabulary."""
    return tag in TAGS or tag in declared or _KIND_OF_PII.fullmatch(tag) is not None


def annotations(policy: Json) -> Mapping[str, str]:
    """Return the annotations by name; one written without a value has the empty one."""
    return {name: value or "" for name, value in policy.get("annotations", {}).items()}


def named(policy: Json) -> Iterator[tuple[str, str]]:
    """Type and id of every entity the policy names."""
    for node in _objects(policy):
        if isinstance(node.get("type"), str) and isinstance(node.get("id"), str):
            yield node["type"], node["id"]


def asked_for(policy: Json) -> Iterator[str]:
    """Every attribute the policy asks for."""
    for node in _objects(policy):
        for operator in (".", "has"):
            if isinstance(node.get(operator), Mapping):
                yield node[operator]["attr"]


def taints_asked_for(policy: Json) -> Iterator[str]:
    """Every taint of the agent that the policy asks for by name."""
    for node in _objects(policy["conditions"]):
        for operator in _COMPARISONS:
            if isinstance(sides := node.get(operator), Mapping):
                for one, other in (("left", "right"), ("right", "left")):
                    if _TAINTS in sides[one].values():
                        yield from _literals(sides[other])


def complaints(policy: Json, declared: Words) -> Iterator[tuple[str, str]]:
    """Every objection as message and hint; none when the policy may be in force."""
    yield from of_frame(policy)
    yield from of_agent(policy, declared.attributes)
    for node in _objects(policy["conditions"]):
        yield from _of_subject(node)
        yield from _of_words(node, declared.tags)


def of_frame(policy: Json) -> Iterator[tuple[str, str]]:
    """Objections to annotations, to the scope and to ids; conditions are not looked at."""
    yield from _of_annotations(policy["effect"], annotations(policy))
    yield from _of_mask(policy)
    yield from _of_scope(policy)
    yield from _of_ids(policy)


def of_agent(policy: Json, declared: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Objections to asking an agent for what no agent has."""
    for node in _objects(policy["conditions"]):
        has = node.get("has")
        if isinstance(has, Mapping) and has["left"].get("Var") == "principal":
            yield from _of_has("an agent", has["attr"], declared | {TAINTS})


def _of_annotations(effect: str, written: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not _ID.fullmatch(written.get("id", "")):
        yield "it has no usable `@id`", 'write @id("a-short-name") above it: letters, digits, `-`, `_` and `.`'
    known = {"id", "mask"} | obligations.NAMES
    for name in sorted(written.keys() - known):
        yield f"unknown annotation `@{name}`", "known are " + ", ".join(f"`@{n}`" for n in sorted(known))
    if effect == "forbid" and (terms := sorted(written.keys() & obligations.NAMES)):
        yield f"`@{terms[0]}` on a forbid has no effect", "put it on the permit it should bound"
    try:
        obligations.from_annotations(written)
    except ValueError as error:
        yield str(error), ""


def _of_mask(policy: Json) -> Iterator[tuple[str, str]]:
    """A permit of masked reading says which mask, and nothing else does."""
    written = annotations(policy).get("mask")
    masked = {uid["id"] for uid in _actions(policy)} == {Action.READ_MASKED.value}
    if masked and policy["effect"] == "permit" and written is None:
        yield "it permits masked reading and names no mask", 'write @mask("null") above it, or another mask'
    if written is None:
        return
    if not masked or policy["effect"] == "forbid":
        yield "`@mask` has no effect here", 'put it on a permit of `action == Action::"read_masked"` alone'
    try:
        masks.parse(written)
    except ValueError as error:
        yield str(error), ""


def _actions(policy: Json) -> Sequence[Json]:
    """The actions that the scope names."""
    scope = policy["action"]
    return (scope["entity"],) if "entity" in scope else scope.get("entities", ())


def _of_scope(policy: Json) -> Iterator[tuple[str, str]]:
    if policy["effect"] == "permit" and policy["principal"].get("op") == "All":
        yield "it permits every principal", 'say whom it permits: `principal in Role::"analyst"`'
    if policy["effect"] == "permit" and policy["principal"].get("op") == "is" and "in" not in policy["principal"]:
        yield "it permits every agent", 'say whom it permits: `principal in Role::"analyst"`'


def _of_ids(policy: Json) -> Iterator[tuple[str, str]]:
    for kind, written in sorted(set(named(policy))):
        if kind in _RESOURCES:
            try:
                entities.names_in(kind, written)
            except ValueError as error:
                yield f"`{kind}::{_quoted(written)}` can never match", str(error)
        elif not written:
            yield f'`{kind}::""` can never match', f"{'an' if kind[0] == 'A' else 'a'} {kind.lower()} has a name"


def _of_subject(node: Json) -> Iterator[tuple[str, str]]:
    for operator in (".", "has", "in", "is"):
        asked = node.get(operator)
        if isinstance(asked, Mapping) and "left" in asked and "Var" not in asked["left"]:
            yield f"`{operator}` asks about something the request may not carry", "ask about `principal` or `resource` only"
    if not isinstance(has := node.get("has"), Mapping):
        return
    if has["left"].get("Var") != "principal":
        yield from _of_has("a resource", has["attr"], entities.ATTRIBUTES)


def _of_has(subject: str, name: str, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    if name not in known:
        listed = ", ".join(f"`{one}`" for one in sorted(known))
        hint = f"attributes are {listed}"
        yield f"{subject} never has an attribute `{name}`", hint


def _of_words(node: Json, declared: frozenset[str]) -> Iterator[tuple[str, str]]:
    for operator in _COMPARISONS:
        sides = node.get(operator)
        if not isinstance(sides, Mapping):
            continue
        for one, other in (("left", "right"), ("right", "left")):
            attributes = set(_attributes(sides[one]))
            for word in _literals(sides[other]):
                if attributes & {"tags", "table_tags"} and not known_tag(word, declared):
                    yield f"unknown tag `{word}`", "known are `pii`, `pii:<kind>`, `secret` and the tags the configuration declares"
                if "volatility" in attributes and word not in _VOLATILITIES:
                    yield f"unknown volatility `{word}`", "known are `immutable`, `stable` and `volatile`"


def _attributes(side: Json) -> Iterator[str]:
    """Names of the attributes whose value this expression may be."""
    if "." in side:
        yield side["."]["attr"]
    for branch in _branches(side):
        yield from _attributes(branch)


def _literals(side: Json) -> Iterator[str]:
    """Strings that this expression may be or, as a set, may hold."""
    if isinstance(side.get("Value"), str):
        yield side["Value"]
    for part in (*side.get("Set", ()), *_branches(side)):
        yield from _literals(part)


def _branches(side: Json) -> Iterable[Json]:
    choice = side.get("if-then-else")
    return (choice["then"], choice["else"]) if choice else ()


def _objects(tree: object) -> Iterator[Json]:
    """Every JSON object in the tree, outermost first."""
    if isinstance(tree, Mapping):
        yield tree
        for value in tree.values():
            yield from _objects(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _objects(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
