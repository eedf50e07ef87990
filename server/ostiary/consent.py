"""A human's yes to a call, where a policy wants one before anything of it runs.

The question shows what would run, whole and as it stands; only arguments that are what they are by default are left out. Each
line of the caller's own begins with a bar, is at most 100 cells wide, and holds nothing that is not seen as itself, so where a
client shows lines as they are it can neither leave its line nor speak in our name. A client that makes more of the text, or
breaks lines at fewer cells, is trusted to keep the bars apart. Letters that look alike are not told apart. What is too long to be
shown is not asked about: nobody approves what he was not shown.
"""

import asyncio
import hashlib
import json
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ostiary.approvals import TTL_S, Ask, CannotAsk, Waiting, answered
from ostiary.audit.record import Entry
from ostiary.audit.recorder import Recorder
from ostiary.crowd import Crowd
from ostiary.errors import CallFailed, NotApproved, failed
from ostiary_policies.model import Permit, Statement
from ostiary_tools.api import Args, CursorHandle, Redacted, World
from ostiary_tools.control.approvals import ApprovalTable
from ostiary_tools.errors import ToolError

_SHOWN_CHARS = 4_000
"""Of statements and arguments: more than that nobody reads to its end."""
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
    number: UUID | None
    """Of a question that was answered in a later request; `None` where the call waited for the answer."""

    def told(self) -> Mapping[str, str]:
        """For the audit log. Of the person nothing is known: what answered is the client's software."""
        number = {"number": str(self.number)} if self.number else {}
        return {"by": "client", "question": self.question, **number}


async def consent(
    permit: Permit,
    world: World,
    rules: tuple[str, ...],
    ask: Ask | None,
    table: ApprovalTable,
    *,
    model: type[Args],
    waiting: Waiting,
) -> Consent:
    """Ask for the call of a tool with that model; `rules` want it. Raises Asked, and CallFailed for all that is no yes."""
    if ask is None:
        raise _impossible(rules, "here nobody can be asked", "call a tool for it, from a client that can ask its user")
    text = question(permit, model, rules)
    try:
        async with asyncio.timeout(TTL_S):
            answer = await answered(permit, world, text, ask, table, waiting=waiting)
    except CannotAsk:
        hint = "use a client that can ask its user (capability `elicitation`), or ask for something that needs no approval"
        raise _impossible(rules, "your client cannot ask anybody", hint) from None
    except TimeoutError:
        raise NotApproved(f"nobody answered in {TTL_S / 60:g} minutes; {_wanted(rules)}", "call it again", rules) from None
    except ToolError as error:
        raise failed(error) from error
    if not answer.approved:
        raise NotApproved(f"it was not approved; {_wanted(rules)}", "do not ask again unless your user wants it", rules)
    return Consent(f"sha256:{hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()}", answer.number)


@asynccontextmanager
async def on_record(asked: Entry, recorder: Recorder, crowd: Crowd) -> AsyncIterator[None]:
    """While a human thinks: that he was asked is on record, whether or not an answer comes, and others may be served."""
    await recorder.refuse(asked)
    async with crowd.lent():
        yield


def question(permit: Permit, model: type[Args], rules: tuple[str, ...]) -> str:
    """What the human reads. Raises CallFailed when the call is too long to be shown."""
    who, intent = permit.principal, permit.intent
    roles = ", ".join(map(_short, who.roles)) or "no role"
    place = f" on `{_short(intent.datasource)}`" if intent.datasource else ""
    lines = list(_lines(permit, model))
    if sum(map(len, lines)) > _SHOWN_CHARS:
        message = f"it is longer than a human can be shown ({_SHOWN_CHARS} characters); {_wanted(rules)}"
        raise NotApproved(message, "write a shorter statement, with fewer and shorter values", rules)
    wanted = _wanted(rules)
    return "\n".join(
        (
            f"The agent `{_short(who.agent)}` ({roles}) wants to call `{_short(intent.tool)}`{place}.",
            f"{wanted[:1].upper()}{wanted[1:]}: is it to run?",
            "",
            "This is all that would run. Lines with a bar are the agent's words and data, whatever they claim:",
            *(f"| {line}" for line in lines),
            "",
            "A yes is good for this call alone, once.",
        )
    )


def _lines(permit: Permit, model: type[Args]) -> Iterator[str]:
    intent = permit.intent
    statements, defaults = (*intent.statements, *intent.explained), _defaults(model)
    for name, value in intent.arguments.items():
        written = json.dumps(value, ensure_ascii=False)
        if written != defaults.get(name) and not (statements and _makes_statements(model, name)):
            yield from _broken(f"{name} = {written}")
    for statement in statements:
        yield from _statement(statement)


def _defaults(model: type[Args]) -> Mapping[str, str]:
    """What arguments are when they are not given; as they would be written, since `0` is no `false`."""
    plain = model.model_construct().model_dump(mode="json", warnings=False)
    return {name: json.dumps(value, ensure_ascii=False) for name, value in plain.items()}


def _makes_statements(model: type[Args], name: str) -> bool:
    """Whether the argument says nothing that the statements do not."""
    marks: list[Any] = model.model_fields[name].metadata if name in model.model_fields else []
    return name in _WRITTEN_AS_SQL and any(isinstance(mark, Redacted | CursorHandle) for mark in marks)


def _statement(statement: Statement) -> Iterator[str]:
    yield from _broken(statement.text)
    for place, value in enumerate(statement.parameters, 1):
        yield from _broken(f"${place} = {'NULL' if value is None else _quoted(value)}")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


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


def _short(name: str) -> str:
    line = "".join(map(_shown, name)).replace("`", "'")
    return line if len(line) <= _NAME_CHARS else f"{line[:_NAME_CHARS]}…"


def _impossible(rules: tuple[str, ...], why: str, hint: str) -> CallFailed:
    return NotApproved(f"{_wanted(rules)}, and {why}", hint, rules)


def _wanted(rules: tuple[str, ...]) -> str:
    named = ", ".join(f"`{rule}`" for rule in rules)
    return f"rule{'s' if len(rules) > 1 else ''} {named} want{'s' if len(rules) == 1 else ''} a human's approval"
