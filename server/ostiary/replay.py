"""Recorded calls put to two policy sets: what each would say to them now. Nothing is run and nothing recorded.

Both sets are asked on today's schema, so that what differs between their answers differs
by policy alone. What a record does not hold is not guessed: such a call is counted with
the reason, and so is one that today's policies answer otherwise than they did when it
was recorded.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from ostiary.explanation import deciding, filtered, masks, told_masks, told_rows
from ostiary.marks import marked
from ostiary.worlds import Worlds
from ostiary_policies import explain
from ostiary_policies.actions import Action
from ostiary_policies.attributes import Attribute, digest
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Denial, Intent, Obligations, Principal, Resource
from ostiary_policies.model import Tool as ToolResource
from ostiary_tools.api import CollectionName, Holdings, Refused, Surface, Tool, ToolError, Unavailable, World
from ostiary_tools.asking import InputNeeded
from ostiary_tools.packs import Registry
from ostiary_tools.sql.restoring import restorations

_SIZE = re.compile(r"<\d+ chars(?: sha256:[0-9a-f]+)?>|<(\d+) items>|<\w+>")
"""What a record holds in place of a value."""
_CUT = 50
"""A recorded list of so many may have been longer."""
_SURFACES = {
    "tool": (Surface.TOOL,),
    "task": (Surface.TOOL,),
    "job": (Surface.TOOL,),
    "prompt": (Surface.PROMPT,),
    "completion": (Surface.COMPLETION,),
    "list": (Surface.RESOURCES,),
    "resource": (Surface.RESOURCE, Surface.TOOL),
    "subscription": (Surface.RESOURCE, Surface.RESOURCES, Surface.TOOL),
}
"""Where the tool of a call stands, by the `origin` of its record."""
_NEVER_DECIDED = {
    "invalid": "its arguments were not valid: no policy was asked",
    "asked": "its client was asked first: the call that came with the answer is recorded too",
    "busy": "there was no room for it: no policy was asked",
    "error": "it failed before any policy was asked",
}


class Outcome(StrEnum):
    """How a call would be answered."""

    PERMIT = "permit"
    DENY = "deny"
    REFUSED = "refused"
    """Before the decision: by the grammar, or because a name does not exist for the caller."""
    UNKNOWN = "unknown"
    """The tool does not exist for the caller."""
    CALLABLE = "callable"
    """The tool exists for the caller; no more can be told of a call whose arguments are not recorded."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one policy set says to a call."""

    outcome: Outcome
    rules: tuple[str, ...]
    """Ids of the policies that decide, or the rule of the grammar."""
    words: tuple[str, ...] = ()
    terms: Obligations | None = None
    rows: frozenset[tuple[Resource, str]] = frozenset()
    """Of tables that row rules govern and the call would touch: which rows, in a predicate."""
    masks: frozenset[tuple[Resource, str]] = frozenset()
    """Of columns that the call would get masked: by which mask."""

    @property
    def decided(self) -> tuple[Outcome, Obligations | None]:
        """What a caller would notice of it, whatever is in the tables."""
        return self.outcome, self.terms


@dataclass(frozen=True, slots=True)
class Replayed:
    """A recorded call and both answers."""

    record: Mapping[str, Any]
    before: Answer
    after: Answer

    @property
    def change(self) -> str:
        """`gains`, `loses`; `terms`, `masks`, `rows`: permitted on others; `otherwise`: refused by both, differently; or empty."""
        if self.before.decided == self.after.decided:
            if self.before.masks != self.after.masks:
                return "masks"
            return "rows" if self.before.rows != self.after.rows else ""
        if Outcome.PERMIT not in (self.before.outcome, self.after.outcome):
            return "gains" if self.after.outcome is Outcome.CALLABLE else "otherwise"
        if self.before.outcome is self.after.outcome:
            return "terms"
        return "gains" if self.after.outcome is Outcome.PERMIT else "loses"


class NotReplayed(Exception):
    """The call cannot be put to a policy from what is recorded; the text says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What calls are judged by."""

    before: Engine
    after: Engine
    registry: Registry
    worlds: Worlds
    given: Mapping[str, tuple[Attribute, ...]]
    """Attributes that the configuration gives an agent."""
    holdings: Callable[[Engine, Principal], Holdings]
    """What a caller knows of today's collections."""

    async def world(self, engine: Engine, who: Principal, tool: Tool[Any]) -> World:
        """What the caller's call of the tool would be planned in."""
        world = await self.worlds.world(engine, who)
        return replace(world, holdings=self.holdings(engine, who)) if marked(tool.args, CollectionName) else world


async def replay(record: Mapping[str, Any], stage: Stage) -> Replayed:
    """Put one recorded intent or denial to both sets. Raises NotReplayed."""
    if (decision := record.get("decision", "")) in _NEVER_DECIDED:
        raise NotReplayed(_NEVER_DECIDED[decision])
    if not record.get("tool"):
        raise NotReplayed("it is no call of a tool")
    tool = _tool(record, stage.registry)
    who = _principal(record, stage)
    callable_ = [engine.allows(who, Access(Action.CALL, ToolResource(tool.name))) for engine in (stage.before, stage.after)]
    if decision == "unknown" or not any(verdict.allowed for verdict in callable_):
        # Of a tool that did not exist for its caller only the names of arguments were recorded.
        found = [Answer(Outcome.CALLABLE if v.allowed else Outcome.UNKNOWN, v.rules) for v in callable_]
        replayed = Replayed(record, *found)
    else:
        sides = [(engine, await stage.world(engine, who, tool)) for engine in (stage.before, stage.after)]
        answers = [[_answer(*side, tool, given, who) for side in sides] for given in _arguments(record, tool)]
        replayed = _best(record, [Replayed(record, *both) for both in answers])
    _demand_likeness(record, replayed.before, stage.before.policy_hash)
    return replayed


def _tool(record: Mapping[str, Any], registry: Registry) -> Tool[Any]:
    """The tool that was called: where it may be on several surfaces, the first that takes such arguments."""
    asked = record.get("arguments", {}).keys() if record.get("decision") != "unknown" else frozenset()
    for surface in _SURFACES.get(record.get("origin", "").partition(" ")[0], ()):
        tool = registry.get((surface, record["tool"]))
        if tool is not None and asked <= tool.args.model_fields.keys():
            return tool
    raise NotReplayed("this installation has no such tool")


def _principal(record: Mapping[str, Any], stage: Stage) -> Principal:
    """The caller. Of attributes the record has names and a digest: enough where no policy asks, or the configuration knows.

    Taints are recorded where the policies of then asked for them; others had none to tell.
    """
    agent, roles, taints = record.get("agent", ""), tuple(record.get("roles", ())), frozenset(record.get("taints", ()))
    told = record.get("attributes")
    if not told:
        return Principal(agent, roles, taints=taints)
    given = stage.given.get(agent, ())
    if digest(given) == told["digest"]:
        return Principal(agent, roles, given, taints)
    if (stage.before.policies.attributes_asked_for | stage.after.policies.attributes_asked_for).isdisjoint(told["names"]):
        return Principal(agent, roles, taints=taints)
    raise NotReplayed("policies ask for attributes of its agent, whose values are not recorded")


def _arguments(record: Mapping[str, Any], tool: Tool[Any]) -> list[dict[str, Any]]:
    """Arguments that make the recorded call, in each way that may be tried. Raises NotReplayed."""
    fields = tool.args.model_fields
    given = {name: value for name, value in record.get("arguments", {}).items() if name not in ("sql", "params", "cursor")}
    for name, value in given.items():
        if _is_kept_back(value):
            raise NotReplayed(f"its argument `{name}` is not recorded")
    if "datasource" in fields and record.get("datasource"):
        given["datasource"] = record["datasource"]
    if "sql" not in fields:
        return [given]
    if not record.get("sql"):
        raise NotReplayed("its statement was refused before any policy decided, and such texts are not recorded")
    counted = _SIZE.fullmatch(str(record["arguments"].get("params", "")))
    # A page was asked for by its cursor, whose statement is the recorded one, with parameters of its own.
    count = int(counted[1]) if counted and counted[1] else _numbered(record["sql"]) if "cursor" in record["arguments"] else 0
    ways = restorations(record["sql"], count, record.get("fingerprint", ""))
    found = [
        {**given, "sql": way.text, **({"params": [None] * way.parameter_count} if way.parameter_count else {})} for way in ways
    ]
    if not found:
        raise NotReplayed("its statement cannot be made whole from the record")
    return found


def _numbered(sql: str) -> int:
    return max((int(number) for number in re.findall(r"\$(\d+)", sql)), default=0)


def _is_kept_back(value: Any) -> bool:
    match value:
        case str():
            return _SIZE.fullmatch(value) is not None
        case list():
            return len(value) >= _CUT or any(map(_is_kept_back, value))
        case dict():
            return len(value) >= _CUT or any(map(_is_kept_back, value.values()))
    return False


def _answer(engine: Engine, world: World, tool: Tool[Any], given: Mapping[str, Any], who: Principal) -> Answer:
    callable_ = engine.allows(who, Access(Action.CALL, ToolResource(tool.name)))
    if not callable_.allowed:
        return Answer(Outcome.UNKNOWN, callable_.rules)
    try:
        intent = tool.plan(tool.args.model_validate(dict(given)), world)
    except ValidationError as error:
        raise NotReplayed("its tool takes other arguments today") from error
    except InputNeeded as error:
        raise NotReplayed("the tool would ask its client first") from error
    except Unavailable as error:
        raise NotReplayed(f"its datasource cannot be looked at: {error.message}") from error
    except ToolError as error:
        return Answer(Outcome.REFUSED, (error.rule,) if isinstance(error, Refused) else (), (error.message,))
    decision = engine.decide(who, intent)
    if isinstance(decision, Denial):
        rules = tuple(sorted({rule for reason in decision.reasons for rule in reason.rules}))
        return Answer(Outcome.DENY, rules, tuple(explain.because(who, reason) for reason in decision.reasons))
    words = (*explain.terms(decision.obligations), *told_rows(intent, world), *told_masks(intent, world, engine))
    masked = frozenset((column, str(mask)) for column, mask in masks(intent, world))
    return Answer(Outcome.PERMIT, deciding(decision, world), words, decision.obligations, _rows(intent, world), masked)


def _rows(intent: Intent, world: World) -> frozenset[tuple[Resource, str]]:
    return frozenset((table, terms.predicate) for table, terms in filtered(intent, world))


def _best(record: Mapping[str, Any], ways: list[Replayed]) -> Replayed:
    """The first way that at least one set accepts as a statement. Raises NotReplayed."""
    for way in ways:
        if Outcome.REFUSED not in (way.before.outcome, way.after.outcome):
            return way
    for way in ways:
        if {way.before.outcome, way.after.outcome} != {Outcome.REFUSED}:
            return way
    if record.get("decision") == "refused":
        return ways[0]
    raise NotReplayed("what it names is refused today under both sets, and was not when it was recorded")


def _demand_likeness(record: Mapping[str, Any], answer: Answer, policy_hash: str) -> None:
    """The same policies must say today what they said then. Raises NotReplayed."""
    if record.get("policy") != policy_hash:
        return
    # One with the terms of a permit was permitted, whatever came of it: a human said no, or a budget was used up. Its rules
    # are those of that end.
    decided = Outcome.PERMIT if record.get("obligations") else record["decision"]
    by_policy = record["decision"] == Outcome.PERMIT
    if answer.outcome != decided or (by_policy and list(answer.rules) != record.get("rules", [])):
        raise NotReplayed("the policies in force decided it otherwise when it was recorded: schema, tags or tools are others today")
