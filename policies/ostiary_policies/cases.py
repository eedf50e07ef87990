"""Decision tables: what is expected of a policy set, as data.

    [[case]]
    title = "an analyst reads no personal data"
    roles = ["analyst"]
    action = "read"
    resource = { column = "shop.public.customers.email", tags = ["pii", "pii:email"] }
    expected = "deny"
    rules = ["analyst-no-pii"]

`taints` are those of the agent, a list. `resource` names one of `tool`, `datasource`, `schema`, `table`, `column`, `function`,
`collection`, `backup` or `audit_log` by its id as policies write it, with the attributes that kind has (`tags`,
`table_tags`, `volatility`, `security_definer`, `extension`, `owner`, `language`, `trigger`). `agent`, `attributes` (of the agent,
by name: `{ region = "eu", teams = ["sales"] }`), `rules` (exactly
those that decide, in any order) and `terms` (`limit_rows`, `limit_bytes`, `timeout_s`,
`max_cost`, `max_rows_scanned`, and the others as annotations write them: `budget_calls = "60/minute"`, `approval = "human"`;
exactly) may be left out. A case is judged with all that its access presupposes.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from types import MappingProxyType, UnionType
from typing import Any

from ostiary_policies import checks, entities, obligations
from ostiary_policies.actions import Action
from ostiary_policies.attributes import Attribute, AttributeType, attribute
from ostiary_policies.engine import Engine, Verdict
from ostiary_policies.errors import TableError
from ostiary_policies.model import Access, AuditLog, Obligations, Principal, Resource

_Type = type | UnionType

_REQUIRED: Mapping[str, _Type] = {"title": str, "roles": list, "action": str, "resource": dict, "expected": str}
_OPTIONAL: Mapping[str, _Type] = {"agent": str, "attributes": dict, "taints": list, "rules": list, "terms": dict}
_KINDS: Mapping[str, Any] = {
    "audit_log" if kind.__name__ == "AuditLog" else kind.__name__.lower(): kind for kind in entities.RESOURCES
}
_TRUTHS = frozenset({"security_definer", "trigger"})


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table."""

    title: str
    principal: Principal
    access: Access
    allowed: bool
    rules: frozenset[str] | None = None
    terms: Obligations | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case ended."""

    title: str
    differences: tuple[str, ...]
    """What is not as expected, a sentence each; none when the case passes."""

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.differences


def run_table(engine: Engine, text: str) -> list[CaseResult]:
    """Judge every case of a table. Raises TableError when the table cannot be read as it stands."""
    policies = engine.policies
    cases = read_table(text, policies.tags, policies.attributes)
    known = {taint for policy in policies.policies.values() for taint in policy.obligations.taints}
    for number, case in enumerate(cases, 1):
        if unknown := sorted(case.principal.taints - known):
            raise TableError(f"case {number}: no policy taints an agent with `{unknown[0]}`")
    return [_run(engine, case) for case in cases]


def read_table(
    text: str, tags: frozenset[str] = frozenset(), declared: Mapping[str, AttributeType] = MappingProxyType({})
) -> list[Case]:
    """Read the cases. Raises TableError, naming the case and the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"it is no TOML: {error}") from error
    if unknown := sorted(table.keys() - {"case"}):
        raise TableError(f"unknown key `{unknown[0]}`; a table is a list of `[[case]]`")
    rows = table.get("case", [])
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise TableError("there is no `[[case]]` in it")
    return [_case(_Row(row, f"case {number}"), tags, declared) for number, row in enumerate(rows, 1)]


@dataclass(frozen=True, slots=True)
class _Row:
    """A TOML table with the words that name it in errors."""

    values: Mapping[str, Any]
    place: str

    def error(self, message: str) -> TableError:
        return TableError(f"{self.place}: {message}")

    def check(self, required: Mapping[str, _Type], optional: Mapping[str, _Type]) -> None:
        known = {**required, **optional}
        if unknown := sorted(self.values.keys() - known.keys()):
            raise self.error(f"unknown key `{unknown[0]}`; known are {', '.join(known)}")
        if missing := [name for name in required if name not in self.values]:
            raise self.error(f"`{missing[0]}` is missing")
        for name, value in self.values.items():
            if not isinstance(value, known[name]) or (isinstance(value, bool) and known[name] is not bool):
                raise self.error(f"`{name}` has a value of the wrong type")

    def words(self, name: str) -> tuple[str, ...]:
        values = self.values.get(name, [])
        if not all(isinstance(value, str) for value in values):
            raise self.error(f"`{name}` is a list of strings")
        return tuple(values)


def _case(row: _Row, tags: frozenset[str], declared: Mapping[str, AttributeType]) -> Case:
    row.check(_REQUIRED, _OPTIONAL)
    values = row.values
    if values["action"] not in list(Action):
        raise row.error(f"unknown action `{values['action']}`; known are {', '.join(Action)}")
    if values["expected"] not in ("permit", "deny"):
        raise row.error(f"`expected` is `permit` or `deny`, not `{values['expected']}`")
    return Case(
        title=values["title"],
        principal=Principal(
            values.get("agent", "anyone"),
            tuple(sorted(set(row.words("roles")))),
            _attributes(row, declared),
            frozenset(row.words("taints")),
        ),
        access=Access(Action(values["action"]), _resource(_Row(values["resource"], f"{row.place}, resource"), tags)),
        allowed=values["expected"] == "permit",
        rules=frozenset(row.words("rules")) if "rules" in values else None,
        terms=_terms(_Row(values["terms"], f"{row.place}, terms")) if "terms" in values else None,
    )


def _attributes(row: _Row, declared: Mapping[str, AttributeType]) -> tuple[Attribute, ...]:
    given: Mapping[str, Any] = row.values.get("attributes", {})
    if unknown := sorted(given.keys() - declared.keys()):
        raise row.error(f"unknown attribute `{unknown[0]}`; declared are {', '.join(declared) or 'none'}")
    try:
        return tuple(attribute(name, declared[name], given[name]) for name in sorted(given))
    except ValueError as error:
        raise row.error(f"attribute {error}") from error


def _resource(row: _Row, tags: frozenset[str]) -> Resource:
    named = sorted(row.values.keys() & _KINDS.keys())
    if named == ["collection", "datasource"]:  # that of its rows
        named = ["collection"]
    if len(named) != 1:
        raise row.error(f"it names exactly one of {', '.join(_KINDS)}")
    kind = _KINDS[named[0]]
    # What has a default is no part of what it is called by.
    attributes = [one.name for one in fields(kind) if one.default is not MISSING or one.default_factory is not MISSING]
    types: dict[str, _Type] = {name: list if "tags" in name else bool if name in _TRUTHS else str for name in attributes}
    row.check({named[0]: str}, types)
    try:
        names = entities.names_in(kind.__name__, row.values[named[0]])
    except ValueError as error:
        raise row.error(str(error)) from error
    given: dict[str, Any] = {name: row.values[name] for name in types if name in row.values}
    for name in given.keys() & {"tags", "table_tags"}:
        given[name] = frozenset(row.words(name))
        if unknown := sorted(tag for tag in given[name] if not checks.known_tag(tag, tags)):
            raise row.error(f"unknown tag `{unknown[0]}`")
    resource: Resource = AuditLog() if kind is AuditLog else kind(*names, **given)
    return resource


def _terms(row: _Row) -> Obligations:
    number: _Type = int | float
    numbers: dict[str, _Type] = {
        "limit_rows": int,
        "limit_bytes": int,
        "timeout_s": number,
        "max_cost": number,
        "max_rows_scanned": int,
    }
    words = obligations.NAMES - {"timeout"} - numbers.keys()
    row.check({}, {**numbers, **dict.fromkeys(sorted(words), str)})
    try:
        stated = obligations.from_annotations({name: row.values[name] for name in words & row.values.keys()})
    except ValueError as error:
        raise row.error(str(error)) from error
    return replace(stated, **{name: row.values[name] for name in numbers.keys() & row.values.keys()})


def _run(engine: Engine, case: Case) -> CaseResult:
    return CaseResult(case.title, tuple(_differences(case, engine.allows(case.principal, case.access))))


def _differences(case: Case, verdict: Verdict) -> Iterator[str]:
    if verdict.allowed is not case.allowed:
        yield f"expected {_word(case.allowed)}, got {_word(verdict.allowed)}"
    if case.rules is not None and case.rules != set(verdict.rules):
        yield f"expected the rules {_listed(case.rules)}, got {_listed(verdict.rules)}"
    if case.terms is not None and case.terms != verdict.obligations:
        yield f"expected the terms {_stated(case.terms)}, got {_stated(verdict.obligations)}"
    # A refusal by an error is never what a table means by `deny`.
    yield from (f"it could not be decided: {error}" for error in verdict.errors)


def _word(allowed: bool) -> str:
    return "permit" if allowed else "deny"


def _listed(rules: Iterable[str]) -> str:
    return ", ".join(f"`{rule}`" for rule in sorted(rules)) or "none"


def _stated(terms: Obligations) -> str:
    said = obligations.stated(terms).items()
    return ", ".join(f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}" for name, value in said) or "none"
