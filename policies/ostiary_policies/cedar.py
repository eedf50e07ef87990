"""Cedar behind a door: policies parsed strictly, single questions judged. The only importer of cedarpy.

Promises that a set which parses has been validated against our schema and our own
checks, and that a question which could not be judged cleanly comes back with the
error and without an allowance. Knows nothing of intents, permits or what one access
presupposes.
"""

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Self

import cedarpy

from ostiary_policies import attributes, checks, entities, masks, obligations, rows, source
from ostiary_policies.attributes import AttributeType
from ostiary_policies.errors import PolicyError, Problem
from ostiary_policies.masks import Mask
from ostiary_policies.model import Access, Obligations, Principal, Resource
from ostiary_policies.rows import RowRule, RowRules

_POSITION = re.compile(r"`policy(\d+)`")


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy in force."""

    id: str
    """Its `@id`, unique in the set."""
    effect: str
    """`permit` or `forbid`."""
    file: str
    line: int
    obligations: Obligations
    mask: Mask | None
    """What a permit of `read_masked` shows."""
    text: str = field(repr=False)
    """As it was written."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """Cedar's answer to one question."""

    allowed: bool
    """Never true when there are errors."""
    rules: tuple[str, ...]
    """Ids of the policies that decided, sorted."""
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicySet:
    """A validated set. Made by `parse` alone; immutable, and safe to share between threads."""

    policies: Mapping[str, Policy]
    """By id, in the order of files and lines; row rules are among them."""
    row_rules: RowRules
    roles: frozenset[str]
    """Roles that any policy names."""
    agents: frozenset[str]
    """Agents that any policy names."""
    tags: frozenset[str]
    """Tags declared beside the built-in ones."""
    attributes: Mapping[str, AttributeType]
    """Attributes of agents that are declared."""
    attributes_asked_for: frozenset[str]
    """Those of them that any policy asks for: by no other can a policy tell agents apart."""
    asks_for_taints: bool
    """Whether any policy asks what an agent is tainted with."""
    hash: str
    _handle: cedarpy.PolicySet = field(repr=False)
    """Of all but the row rules, which Cedar is asked about table by table."""
    _order: tuple[str, ...] = field(repr=False)
    """Their ids, as Cedar counts them."""
    _schema: cedarpy.Schema = field(repr=False)
    _named: frozenset[tuple[str, str]] = field(repr=False)
    _named_kinds: frozenset[str] = field(repr=False)
    _attributes: Mapping[type[Resource], tuple[str, ...]] = field(repr=False)
    """The attributes of a resource that any policy asks for."""

    @classmethod
    def parse(
        cls,
        texts: Mapping[str, str],
        tags: frozenset[str] = frozenset(),
        declared: Mapping[str, AttributeType] = MappingProxyType({}),
    ) -> Self:
        """Parse and validate files, by name. Blocks for milliseconds. Raises PolicyError with every problem found."""
        texts = {name: source.normal(texts[name]) for name in sorted(texts)}
        words = checks.Words(tags, frozenset(declared))
        schema = _schema(tuple(sorted(declared.items())))
        parsed = [_parse(written, words, schema) for name, text in texts.items() for written in source.policies_in(name, text)]
        problems = [problem for one in parsed for problem in one.problems]
        policies = {one.policy.id: one.policy for one in parsed if one.policy}
        problems += _repeated(one.policy for one in parsed if one.policy)
        problems += _unknown_taints(parsed)
        if not parsed:
            problems.append(
                Problem(", ".join(texts) or "policies", 0, "", "there is no policy", "without one, everything is denied")
            )
        if problems:
            raise PolicyError(tuple(problems))
        ordinary = [one for one in parsed if one.rule is None]
        order = tuple(one.policy.id for one in ordinary if one.policy)
        handle = cedarpy.PolicySet.from_str("\n".join(policies[name].text for name in order), release_gil=True)
        if len(handle) != len(order):
            raise PolicyError((Problem(", ".join(texts), 0, "", "Cedar counts other policies than were validated"),))
        uids = {uid for one in parsed for uid in one.named}
        named = {uid for one in ordinary for uid in one.named}
        asked_for = {name for one in ordinary for name in one.attributes}
        return cls(
            policies=policies,
            row_rules=RowRules(tuple(one.rule for one in parsed if one.rule), declared),
            roles=frozenset(name for kind, name in uids if kind == "Role"),
            agents=frozenset(name for kind, name in uids if kind == "Agent"),
            tags=tags,
            attributes=declared,
            attributes_asked_for=frozenset(name for one in parsed for name in one.attributes) & declared.keys(),
            asks_for_taints=any(attributes.TAINTS in one.attributes for one in parsed),
            hash=source.digest(texts),
            _handle=handle,
            _order=order,
            _schema=schema,
            _named=frozenset(named),
            _named_kinds=frozenset(kind for kind, _ in named),
            _attributes={kind: tuple(f.name for f in fields(kind) if f.name in asked_for) for kind in entities.RESOURCES},
        )

    def likeness(self, access: Access) -> Hashable:
        """Return what the answer to this question depends on: equal for two accesses, equal answers to one principal.

        A policy can tell resources apart by type, by the attributes it asks for, and by
        the ids it names, of the resource or of what contains it; there is nothing else.
        """
        kind = type(access.resource)
        if not _writable(access.resource):
            return access
        attributes = tuple(getattr(access.resource, name) for name in self._attributes[kind])
        return access.action, kind, attributes, tuple(self._named_around(access.resource))

    def _named_around(self, resource: Resource) -> Iterator[tuple[str, str]]:
        around: Resource | None = resource
        while around is not None:
            kind = type(around).__name__
            if kind in self._named_kinds and (uid := (kind, entities.resource_id(around))) in self._named:
                yield uid
            around = entities.parent(around)

    def judge(self, principal: Principal, accesses: Sequence[Access]) -> list[Judgment]:
        """Answer each question by itself, without what it presupposes.

        About 30 µs each, holding the interpreter's lock. Total: what cannot be judged is answered with its error.
        """
        try:
            loaded = cedarpy.Entities.from_json_str(_entities(principal, accesses), self._schema)
            answers = cedarpy.is_authorized_batch(_requests(principal, accesses), self._handle, loaded, self._schema)
        except ValueError as error:
            # One unusable name, or two views of one table with different tags, must not decide about the others.
            if len(accesses) > 1:
                return [self.judge(principal, [access])[0] for access in accesses]
            return [Judgment(allowed=False, rules=(), errors=(f"the request could not be judged: {error}",))]
        return [self._judgment(answer) for answer in answers]

    def _judgment(self, answer: cedarpy.AuthzResult) -> Judgment:
        errors = tuple(_POSITION.sub(self._id_at, error) for error in answer.diagnostics.errors)
        return Judgment(
            # Cedar skips a policy that fails, and what it skips may be a forbid.
            allowed=answer.allowed and not errors,
            rules=tuple(sorted(answer.diagnostics.id_annotations_by_reason.values())),
            errors=errors,
        )

    def _id_at(self, position: re.Match[str]) -> str:
        return f"`{self._order[int(position[1])]}`"


def form(policy: Policy) -> Mapping[str, Any]:
    """What Cedar reads in a policy, without layout and comments: `effect`, `annotations`, `principal`, `action` …."""
    (read,) = json.loads(cedarpy.policies_to_json_str(policy.text))["staticPolicies"].values()
    return dict(read)


@dataclass(frozen=True, slots=True)
class RowPolicies:
    """Policies about things of which nothing is known but their type. Made by `parse` alone; safe to share between threads."""

    _handle: cedarpy.PolicySet = field(repr=False)
    _schema: cedarpy.Schema = field(repr=False)
    _count: int

    @classmethod
    def parse(cls, texts: Sequence[str], declared: Mapping[str, AttributeType], types: str) -> Self:
        """Take policies, each a text of its own, and the schema of those types. Raises ValueError when either cannot be parsed."""
        schema = cedarpy.Schema.from_str(_schema_text(declared) + types)
        handle = cedarpy.PolicySet.from_str("\n".join(texts), release_gil=True)
        if len(handle) != len(texts):
            raise ValueError("Cedar counts other policies than were given")
        return cls(handle, schema, len(texts))

    def invalid(self, text: str) -> tuple[str, ...]:
        """What Cedar's strict validator has against one policy."""
        return tuple(_invalid(text, self._schema))

    def residuals(self, principal: Principal, action: str) -> dict[int, dict[str, Any]]:
        """What is left of each policy by its place, in Cedar's JSON; one that is not in it never applies.

        Raises ValueError when it is not certain what is left.
        """
        loaded = cedarpy.Entities.from_json_str(_entities(principal, ()), self._schema)
        # Where Cedar would spell the name in another way, it answers with an error.
        agent = principal.agent.replace("\\", "\\\\").replace('"', '\\"')
        request = {"principal": f'Agent::"{agent}"', "action": f'Action::"{action}"', "context": {}}
        answer = cedarpy.is_authorized_partial(request, self._handle, loaded, self._schema)
        left = {f"policy{place}": place for place in range(self._count)}
        if answer.diagnostics.errors or answer.diagnostics.reasons or not answer.residuals.keys() <= left.keys():
            raise ValueError("what is left of the policies is not certain")
        return {left[name]: residual for name, residual in answer.residuals.items()}


def tree_of(text: str) -> dict[str, Any]:
    """One policy in Cedar's JSON. Raises ValueError when it is none or a template."""
    tree = json.loads(cedarpy.policies_to_json_str(text))
    if tree["templates"] or len(tree["staticPolicies"]) != 1:
        raise ValueError("templates are not supported")
    (policy,) = tree["staticPolicies"].values()
    return dict(policy)


@dataclass(frozen=True, slots=True)
class _Parsed:
    """One policy and what it speaks of, or the problems with it."""

    policy: Policy | None = None
    rule: RowRule | None = None
    """When it is one."""
    named: frozenset[tuple[str, str]] = frozenset()
    attributes: frozenset[str] = frozenset()
    taints: frozenset[str] = frozenset()
    """Of an agent, by name."""
    problems: tuple[Problem, ...] = ()


def _parse(written: source.Source, words: checks.Words, schema: cedarpy.Schema) -> _Parsed:
    if not source.is_bounded(written.text):
        hint = "split it in several, or compare with a set"
        return _Parsed(problems=(Problem(written.file, written.line, "", "it nests or chains too much", hint),))
    try:
        tree = json.loads(cedarpy.policies_to_json_str(written.text))
    except ValueError as error:
        return _Parsed(problems=(Problem(written.file, written.line, "", f"it cannot be parsed: {error}"),))
    if tree["templates"]:
        hint = "name the principal and the resource"
        return _Parsed(problems=(Problem(written.file, written.line, "", "templates are not supported", hint),))
    (policy,) = tree["staticPolicies"].values()
    annotations = checks.annotations(policy)
    name = annotations.get("id", "")
    of_rows = rows.speaks_of_rows(policy)
    complaints = rows.complaints(policy, words) if of_rows else checks.complaints(policy, words)
    found = [Problem(written.file, written.line, name, *complaint) for complaint in complaints]
    if not of_rows:
        found += [Problem(written.file, written.line, name, message) for message in _invalid(written.text, schema)]
    if found:
        return _Parsed(problems=tuple(dict.fromkeys(found)))
    return _Parsed(
        Policy(
            name,
            policy["effect"],
            written.file,
            written.line,
            obligations.from_annotations(annotations),
            masks.parse(annotations["mask"]) if "mask" in annotations else None,
            written.text,
        ),
        rows.rule(name, policy, written) if of_rows else None,
        named=frozenset(checks.named(policy)),
        attributes=frozenset(checks.asked_for(policy)),
        taints=frozenset(checks.taints_asked_for(policy)),
    )


def _invalid(text: str, schema: cedarpy.Schema) -> Iterator[str]:
    """Ask Cedar's strict validator about one policy."""
    result = cedarpy.validate_policies(text, schema, release_gil=True)
    for error in result.errors:
        yield error.error.removeprefix("for policy `policy0`, ")
    if not result.validation_passed and not result.errors:
        yield "it does not pass validation"


def _repeated(policies: Iterable[Policy]) -> Iterator[Problem]:
    first: dict[str, Policy] = {}
    for policy in policies:
        other = first.setdefault(policy.id, policy)
        if other is not policy:
            yield Problem(policy.file, policy.line, policy.id, f"its `@id` is already used in {other.file}:{other.line}")


def _unknown_taints(parsed: Sequence[_Parsed]) -> Iterator[Problem]:
    """Questions for what nothing taints with: their forbids would never apply."""
    known = {taint for one in parsed if one.policy for taint in one.policy.obligations.taints}
    for one in parsed:
        for taint in sorted(one.taints - known):
            if one.policy:
                message = f"no policy taints an agent with `{taint}`"
                hint = f'write @taint("{taint}") on the permits that do, or one of {", ".join(sorted(known)) or "none so far"}'
                yield Problem(one.policy.file, one.policy.line, one.policy.id, message, hint)


@lru_cache(maxsize=8)
def _schema(declared: tuple[tuple[str, AttributeType], ...]) -> cedarpy.Schema:
    return cedarpy.Schema.from_str(_schema_text(dict(declared)))


def _schema_text(declared: Mapping[str, AttributeType]) -> str:
    text = files("ostiary_policies").joinpath("schema.cedarschema").read_text("utf-8")
    return attributes.declaring(text, declared)


def _requests(principal: Principal, accesses: Sequence[Access]) -> list[dict[str, Any]]:
    agent = {"type": "Agent", "id": principal.agent}
    return [
        {"principal": agent, "action": {"type": "Action", "id": a.action.value}, "resource": entities.uid(a.resource)}
        for a in accesses
    ]


def _writable(resource: Resource) -> bool:
    """Whether its names can be written as UTF-8; Cedar cannot be asked about one whose cannot."""
    try:
        "".join(entities.names(resource)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _entities(principal: Principal, accesses: Sequence[Access]) -> str:
    """Write down all that the answers can depend on: the agent, its attributes and roles, the resources and what contains them."""
    roles = [{"type": "Role", "id": role} for role in dict.fromkeys(principal.roles)]
    own = {one.name: attributes.plain(one) for one in principal.attributes} | {attributes.TAINTS: sorted(principal.taints)}
    loaded = [{"uid": {"type": "Agent", "id": principal.agent}, "attrs": own, "parents": roles}]
    loaded += [{"uid": role, "attrs": {}, "parents": []} for role in roles]
    needed: dict[Resource, None] = {}
    for access in accesses:
        resource: Resource | None = access.resource
        while resource is not None and resource not in needed:
            needed[resource] = None
            resource = entities.parent(resource)
    return json.dumps([*loaded, *map(entities.entity, needed)])
