"""A human's yes to a call, where a policy wants one before anything of it runs.

The question shows what would run, whole and as it stands; only arguments that are what they are by default are left out. Each
line of the caller's own begins with a bar, is at most 100 cells wide, and holds nothing that is not seen as itself, so where a
client shows lines as they are it can neither leave its line nor speak in our name. A client that makes more of the text, or
breaks lines at fewer cells, is trusted to keep the bars apart. Letters that look alike are not told apart. What is too long to be
shown is not asked about: nobody approves what he was not shown. Only of a known change are long values cut, each with its length
and digest: what it does with them was seen, stands in the question too, and is all that it may do.
"""

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from ostiary.approvals import TTL_S, Answers, Ask, Asked, CannotAsk, Waiting, answered
from ostiary.audit.record import Entry
from ostiary.audit.recorder import Recorder
from ostiary.crowd import Crowd
from ostiary.errors import CallFailed, NotApproved, WaitsForPeople, failed
from ostiary.marks import marked
from ostiary.people import People, Wanted, digest
from ostiary_policies.model import Intent, Permit, Statement
from ostiary_tools.api import Args, ChangeHandle, CursorHandle, Redacted, World
from ostiary_tools.errors import ToolError

_SHOWN_CHARS = 4_000
"""Of statements and arguments: more than that nobody reads to its end."""
_VALUE_CHARS = 300
"""Of a value of a known change, before it is cut: rows that are given travel as values, one for each column."""
_CUT_CHARS = 100
"""Of a value that is cut."""
_BAR = "| "
_LINE_CELLS = 100
_NAME_CHARS = 100
_WRITTEN_AS_SQL = frozenset({"sql", "params", "cursor"})
"""Arguments that the statements are made of, where the tool's model marks them."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
"""Letters and signs that leave their place empty."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A yes that was used up."""

    question: str
    """Digest of what was shown."""
    number: UUID | None = None
    """Of a question that the client answered in a later request."""
    waited: bool = False
    """The call stayed for the answer, and was decided before it."""
    id: str = ""
    """Under which people were asked by a command; empty where the client's side was."""
    people: tuple[str, ...] = ()
    """Who granted it there."""

    def told(self) -> Mapping[str, str]:
        """For the audit log. Of who answers at the client nothing is known: it is the client's software."""
        if self.id:
            return {"by": "people", "question": self.question, "id": self.id, "people": ", ".join(self.people)}
        number = {"number": str(self.number)} if self.number else {}
        return {"by": "client", "question": self.question, **number}


@dataclass(frozen=True, slots=True)
class Asking:
    """The ways to a yes: whoever is at the client's side, and people at the command line."""

    ask: Ask | None
    """`None` where nobody can be asked at all, such as for a list."""
    used: Answers
    people: People
    waiting: Waiting


async def consent(permit: Permit, world: World, what: Wanted, asking: Asking, text: str) -> Consent:
    """Ask for the call with this question. Raises Asked, and CallFailed for all that is no yes."""
    if asking.ask is None:
        raise _impossible(what, "here nobody can be asked", "call a tool for it, from a client that can ask its user")
    if not asking.people.must_answer(what):
        try:
            return await _of_client(permit, world, what, asking, ask=asking.ask, text=text)
        except CannotAsk:
            pass
    granted = await asking.people.granted(permit, world, text, what)
    return Consent(granted.shown, id=granted.id, people=granted.granted_by)


async def _of_client(permit: Permit, world: World, what: Wanted, asking: Asking, *, ask: Ask, text: str) -> Consent:
    try:
        async with asyncio.timeout(TTL_S):
            answer = await answered(permit, world, text, ask, asking.used, waiting=asking.waiting)
    except TimeoutError:
        raise NotApproved(f"nobody answered in {TTL_S / 60:g} minutes; {what}", "call it again", what.rules) from None
    except ToolError as error:
        raise failed(error) from error
    if not answer.approved:
        raise NotApproved(f"it was not approved; {what}", "do not ask again unless your user wants it", what.rules)
    return Consent(digest(text), answer.number, waited=answer.number is None)


@asynccontextmanager
async def on_record(asked: Entry, recorder: Recorder, crowd: Crowd) -> AsyncIterator[None]:
    """While a human thinks: that he was asked is on record, whether or not an answer comes, and others may be served."""
    await recorder.refuse(asked)
    async with crowd.lent():
        yield


@asynccontextmanager
async def refusals_on_record(asked: Entry, recorder: Recorder) -> AsyncIterator[None]:
    """Whatever ends the call instead of a yes is recorded before it is told."""
    try:
        yield
    except Asked:
        await recorder.refuse(asked)
        raise
    except NotApproved as no:
        decision = "asked" if isinstance(no, WaitsForPeople) else "deny"
        await recorder.refuse(replace(asked, decision=decision, reason=no.message, rules=no.rules, approval=no.told))
        raise
    except CallFailed as no:
        await recorder.refuse(replace(asked, decision="refused", reason=no.message, rules=no.rules))
        raise


def question(permit: Permit, world: World, model: type[Args], what: Wanted) -> str:
    """What the human reads. Raises CallFailed when the call is too long to be shown."""
    who, intent = permit.principal, permit.intent
    roles = ", ".join(map(_short, who.roles)) or "no role"
    place = f" on `{_short(intent.datasource)}`" if intent.datasource else ""
    lines = list(_lines(intent, world, model))
    if sum(len(line) - len(_BAR) for line in lines if line.startswith(_BAR)) > _SHOWN_CHARS:
        message = f"it is longer than a human can be shown ({_SHOWN_CHARS} characters); {what}"
        raise NotApproved(message, "write a shorter statement, with fewer and shorter values", what.rules)
    wanted, cut = str(what), not all(line.startswith(_BAR) for line in lines)
    said = "This would run, long values cut." if cut else "This is all that would run."
    return "\n".join(
        (
            f"The agent `{_short(who.agent)}` ({roles}) wants to call `{_short(intent.tool)}`{place}.",
            f"{wanted[:1].upper()}{wanted[1:]}: is it to run?",
            "",
            f"{said} Lines with a bar are the agent's words and data, whatever they claim:",
            *lines,
            *_effects(intent, world),
            *_backup(intent, world),
            "",
            "A yes is good for this call alone, once.",
        )
    )


def _effects(intent: Intent, world: World) -> Iterator[str]:
    """What a change was seen to do, of which the rest is refused; the samples of it may be cut, as samples are."""
    change = world.change
    if change is None or not (intent.changes or intent.undoes):
        return
    took = "what was done, and would be taken back" if intent.undoes else "what was done when it was tried and taken back"
    more = ", and definitions besides" * change.effects.defined
    yield from ("", f"This is {took}, {change.effects.rows} rows in all{more}; if anything else would be, nothing is:")
    chars, lines = 0, [line for text in change.shown for line in _broken(text)]
    for place, line in enumerate(lines):
        if (chars := chars + len(line)) > _SHOWN_CHARS:
            yield f"And {len(lines) - place} more lines."
            return
        yield _BAR + line


def _backup(intent: Intent, world: World) -> Iterator[str]:
    """What the backup is of, which its id does not say."""
    if intent.arguments.get("moment"):
        whose = _short(str(intent.arguments.get("datasource")))
        yield from ("", f"The whole cluster of `{whose}` is restored as it was at that moment, to a server of its own.")
        yield "Nothing that is there already is touched."
    for one in world.backups.backups if world.backups else ():
        if one.manifest.id == intent.arguments.get("backup"):
            made = one.manifest
            taken = f"{made.ended_at:%Y-%m-%d %H:%M} UTC"
            yield from ("", f"The backup is {_a(made.kind)} one of `{_short(made.datasource)}`, taken {taken}, {one.label}.")
            yield "Nothing that is there already is touched."
            if made.kind == "logical":
                yield "What owners of its tables wrote, such as checks of rows, runs as the login for backups."
            if intent.arguments.get("target") == "schema":
                yield "Policies, masks and row rules that name its tables do not hold for the new schema: see who may use it."


def _a(kind: str) -> str:
    return f"an {kind}" if kind.startswith("i") else f"a {kind}"


def _lines(intent: Intent, world: World, model: type[Args]) -> Iterator[str]:
    """The agent's own behind bars, and ours on what is cut."""
    statements, defaults = (*intent.statements, *intent.lookups, *intent.explained, *intent.changes), _defaults(model)
    for name, value in intent.arguments.items():
        written = json.dumps(value, ensure_ascii=False)
        if written != defaults.get(name) and not _is_handle(model, name) and not (statements and _makes_statements(model, name)):
            yield from _barred(f"{name} = {written}")
    for statement in (*intent.statements, *intent.lookups, *intent.explained):
        yield from _statement(statement, whole=True)
    for statement in intent.changes:
        yield from _statement(statement, whole=world.change is None)


def _defaults(model: type[Args]) -> Mapping[str, str]:
    """What arguments are when they are not given; as they would be written, since `0` is no `false`."""
    plain = model.model_construct().model_dump(mode="json", warnings=False)
    return {name: json.dumps(value, ensure_ascii=False) for name, value in plain.items()}


def _is_handle(model: type[Args], name: str) -> bool:
    """Whether the argument is a secret that names a change: what that is stands in the question."""
    return name in marked(model, ChangeHandle)


def _makes_statements(model: type[Args], name: str) -> bool:
    """Whether the argument says nothing that the statements do not."""
    return name in _WRITTEN_AS_SQL and (name in marked(model, Redacted) or name in marked(model, CursorHandle))


def _statement(statement: Statement, *, whole: bool) -> Iterator[str]:
    yield from _barred(statement.text)
    for place, value in enumerate(statement.parameters, 1):
        if value is None or whole or len(value) <= _VALUE_CHARS:
            yield from _barred(f"${place} = {'NULL' if value is None else _quoted(value)}")
        else:
            yield from _barred(f"${place} = '{_escaped(value[:_CUT_CHARS])}")
            yield f"Of ${place} these are the first {_CUT_CHARS} of {len(value)} characters, which together have the digest"
            yield f"{digest(value)}."


def _quoted(value: str) -> str:
    return f"'{_escaped(value)}'"


def _escaped(value: str) -> str:
    return value.replace("'", "''")


def _barred(text: str) -> Iterator[str]:
    return (_BAR + line for line in _broken(text))


def _broken(text: str) -> Iterator[str]:
    """In lines of a bounded width; none ends within a number."""
    line: list[str] = []
    cells = 0
    for char in text:
        shown, wide = _shown(char), unicodedata.east_asian_width(char) in "WF"
        width = 2 if wide and shown == char else len(shown)
        if cells + width > _LINE_CELLS:
            yield "".join(line)
            line.clear()
            cells = 0
        line.append(shown)
        cells += width
    yield "".join(line)


def _shown(char: str) -> str:
    """Itself, or its number: of a break of the line, a space but the space, a mark on another letter, and all that is not seen."""
    seen = char == " " or (unicodedata.category(char)[0] not in "CMZ" and char not in _BLANK)
    return char if seen else f"<U+{ord(char):04X}>"


def seen(text: str) -> str:
    """The text, with the numbers of what is not seen as itself."""
    return "".join(map(_shown, text))


def _short(name: str) -> str:
    line = seen(name).replace("`", "'")
    return line if len(line) <= _NAME_CHARS else f"{line[:_NAME_CHARS]}…"


def _impossible(what: Wanted, why: str, hint: str) -> CallFailed:
    return NotApproved(f"{what}, and {why}", hint, what.rules)
