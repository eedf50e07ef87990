"""Every failure of a call, as the caller is told.

CallFailed               code, message, hint: for the model to read
├── ToolError            see ostiary_tools.errors; carried as its cause
├── Denied               policy said no
│   ├── OverBudget       a budget is used up, or calls that run hold the rest of it
│   └── NotApproved      policy wants a human's yes, and there is none
│       └── WaitsForPeople   and people have been asked for it
├── InvalidArguments     the tool's model refused the arguments
├── Busy                 too many calls at once
├── NotRecorded          the audit log did not take the record, so nothing ran
└── Internal             a defect of ours; the text stays in the log, the caller gets the call id
UnknownTool              for the protocol: hidden and unknown are the same answer
"""

from collections.abc import Mapping

from pydantic import ValidationError

from ostiary.audit.putback import COMMAND, RULE
from ostiary.audit.writer import RecordingFailed, Undecided
from ostiary.redaction import printable
from ostiary_policies.model import Intent
from ostiary_tools.catalogs.sight import exists
from ostiary_tools.errors import DatabaseError, NotOnReplica, Refused, TooCostly, ToolError, Violated
from ostiary_tools.sql.mending import mended
from ostiary_tools.view import SchemaView, World

OF_THE_SERVER = frozenset(("busy", "over_budget", "not_approved", "not_recorded", "unavailable", "internal"))
"""Codes that tell how the server or its caller is and nothing of what was asked for: where a thing is asked for by its address,
any other failure is answered as if it did not exist."""

_SOON_S = 1
_LATER_S = 5
_DOUBTS = {"applying": "applied", "reverting": "undone"}
"""Of a change that was about to be committed when it was last heard of: what may have been done with it."""


class UnknownTool(Exception):
    """No such tool for this caller. A hidden one is answered with the same words."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown tool: {name}")


class CallFailed(Exception):
    """A failure the model can read: `code: message`, the rules that decided, and the next step.

    `again_in_s`: whole seconds after which the same call may be answered; `None` where time alone does not help, or not known when.
    """

    def __init__(
        self, code: str, message: str, hint: str = "", rules: tuple[str, ...] = (), *, again_in_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.rules = rules
        self.again_in_s = again_in_s

    def text(self) -> str:
        """What the agent is told: a line each for the failure, its rules and the next step."""
        lines = [f"{self.code}: {self.message}"]
        if self.rules:
            lines.append(f"rule: {', '.join(self.rules)}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class Denied(CallFailed):
    """Policy said no."""

    def __init__(self, message: str, hint: str, rules: tuple[str, ...], *, again_in_s: int | None = None) -> None:
        super().__init__("denied", message, hint, rules, again_in_s=again_in_s)


class OverBudget(Denied):
    """Nothing is left of a budget for this call; nothing of it ran. `reason` is the message without what the clock says."""

    def __init__(self, message: str, hint: str, rules: tuple[str, ...], *, reason: str, again_in_s: int | None = None) -> None:
        super().__init__(message, hint, rules, again_in_s=again_in_s)
        self.code = "over_budget"
        self.reason = reason


class NotApproved(Denied):
    """Policy wants a human's yes to this call, and there is none; nothing of it ran."""

    def __init__(self, message: str, hint: str, rules: tuple[str, ...], *, told: Mapping[str, str] | None = None) -> None:
        super().__init__(message, hint, rules)
        self.code = "not_approved"
        self.told = told or {}
        """For the audit log, of what people were asked."""


class WaitsForPeople(NotApproved):
    """The call stands where people can see it; the same call runs once when they have granted it."""

    def __init__(self, message: str, hint: str, rules: tuple[str, ...], *, told: Mapping[str, str]) -> None:
        super().__init__(message, hint, rules, told=told)
        self.code = "approval_waiting"


class InvalidArguments(CallFailed):
    """The tool's model refused the arguments."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_arguments", message, "see the tool's input schema")


class Busy(CallFailed):
    """Too many calls at once; nothing of this one was looked at."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "busy", why, f"wait until one has ended, then try again, after {_SOON_S} s at the earliest", again_in_s=_SOON_S
        )


class NotRecorded(CallFailed):
    """The audit log did not take the record.

    `stands`: how far a change has come that was committed, or may have been; without one nothing ran.
    """

    def __init__(self, stands: str = "") -> None:
        hint = f"try again in {_LATER_S} s; the operator sees why in the log"
        message = "the audit log is not available, so nothing was run"
        if stands:
            message = f"the change was {stands}, and the audit log, which knows that it was begun, could not yet be told so"
            hint = "do not try again: it is told when it is available again"
        if stands in _DOUBTS:
            message = f"the audit log is not available, and whether the change was {_DOUBTS[stands]} is not known yet"
            hint = "it is found out and recorded; call the same tool with the same change later, and it says what became of it"
        super().__init__("not_recorded", message, hint, again_in_s=None if stands else _LATER_S)


def not_recorded(error: RecordingFailed) -> CallFailed:
    """Why the log took no record, as far as it is the agent's business."""
    if not isinstance(error, Undecided):
        return NotRecorded()
    message = "the audit log was put back to an earlier moment, so nothing is run before a person has decided that it goes on"
    return CallFailed("not_recorded", message, f"tell the operator: `{COMMAND}` says what is to be known first", (RULE,))


class Internal(CallFailed):
    """A defect. Its text stays in the server's log under the call id."""

    def __init__(self, call_id: object) -> None:
        super().__init__("internal", f"the call failed inside the server; its id is {call_id}", "tell the operator the id")


def failed(error: ToolError) -> CallFailed:
    """A tool's error as the caller is told."""
    match error:
        case Refused():
            return CallFailed(error.code, error.message, error.hint, (error.rule,))
        case TooCostly() | NotOnReplica():
            return CallFailed(error.code, error.message, error.hint, error.rules)
        case _:
            return CallFailed(error.code, error.message, error.hint)


def outcome_code(error: ToolError) -> str:
    """What stands in the audit log: the code, with the SQLSTATE, and never the text."""
    return f"{error.code} {error.sqlstate}" if isinstance(error, DatabaseError) else error.code


def wrong_arguments(error: ValidationError) -> str:
    """Which argument is wrong and how, without repeating what was given."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    said = [f"`{printable('.'.join(map(str, e['loc'])))[:80]}`: {e['msg'].lower()}" for e in found[:5]]
    return "; ".join(said)


def explained(error: ToolError, intent: Intent, world: World) -> ToolError:
    """An error of the database in terms of what the caller wrote, where the tool takes SQL, and of what exists for the caller."""
    if isinstance(error, DatabaseError) and error.violated is not None:
        return _named(error, error.violated, world.view(intent.datasource))
    statements = (*intent.statements, *intent.explained)
    if not isinstance(error, DatabaseError) or intent.datasource is None or len(statements) != 1:
        return error
    written = intent.arguments.get("sql")
    text = written if isinstance(written, str) and written else None
    return mended(error, statements[0].text, text, world.view(intent.datasource))


def _named(error: DatabaseError, found: Violated, view: SchemaView) -> DatabaseError:
    """With the name of the constraint or column, where that exists for the caller."""
    named = f" (`{found.constraint or found.column}` of `{found.table[1]}`)" if exists(view, found) else ""
    return DatabaseError(error.sqlstate, error.message + named, error.hint)
