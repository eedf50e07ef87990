"""What a call would do, from its tool and then from its statements' own text: two statements of it that must agree."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from ostiary.marks import given
from ostiary_policies.actions import Action
from ostiary_policies.model import Intent
from ostiary_tools.api import Args, AskedInWords, Tool, World
from ostiary_tools.errors import Refused
from ostiary_tools.sql import Judged, JudgedChange, judge, judge_change

P = ParamSpec("P")
T = TypeVar("T")

_IN_THREAD_CHARS = 2_000
"""Longer arguments are planned away from the event loop: judging SQL takes about a millisecond per thousand characters."""

_HERE_NUMBERS = 4_096
"""A vector of no more is planned with where it is: checking one takes less than the way to a thread and back."""

_KEPT = frozenset({Action.INDEX, Action.MANAGE, Action.DROP, Action.BACK_UP, Action.VERIFY, Action.RESTORE})
"""What collections keep, and repositories of backups; evidence of a verification too."""
_CATALOG = re.compile(r"pg_|information_schema|reg[a-z]+|u&", re.IGNORECASE)
"""What a text that reads a catalog holds; the first of a caller makes the catalog's rows, some microseconds a column."""


async def planned(tool: Tool[Any], args: Args, world: World) -> Intent:
    """The tool's own statement of the call. Raises ToolError."""
    values = [getattr(args, name) for name in type(args).model_fields]
    if world.change is not None or any(isinstance(value, tuple) and not _few_numbers(value) for value in values):
        return await asyncio.to_thread(tool.plan, args, world)  # there may be a hundred thousand rows in it
    texts = [value for value in values if isinstance(value, str)]
    texts += [world.position.statement.text] if world.position else []
    # To find what a question is about takes milliseconds, and more where there are thousands of tables.
    slow = any(map(_CATALOG.search, texts)) or given(args, AskedInWords) is not None
    return await away(sum(map(len, texts)) + slow * _IN_THREAD_CHARS, tool.plan, args, world)


def _few_numbers(values: tuple[object, ...]) -> bool:
    return len(values) <= _HERE_NUMBERS and set(map(type, values)) <= {float}


async def away(chars: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it where it cannot hold up others, when it is about a long text."""
    return await asyncio.to_thread(work, *args, **kwargs) if chars > _IN_THREAD_CHARS else work(*args, **kwargs)


def judged_again(intent: Intent, world: World) -> tuple[Judged | JudgedChange, ...]:
    """Judge what will be run, from its own text: a tool that states less than its statements do is refused."""
    statements = (*intent.statements, *intent.lookups, *intent.explained)
    if not statements and not intent.changes:
        return ()
    view = world.view(intent.datasource)
    stated = frozenset(intent.accesses)
    judged: tuple[Judged | JudgedChange, ...] = tuple(judge(statement.text, view) for statement in statements)
    judged += tuple(judge_change(statement.text, view) for statement in intent.changes)
    for statement, judgement in zip((*statements, *intent.changes), judged, strict=True):
        ours = judgement.statement
        same = replace(ours, parameters=statement.parameters) == statement
        if not same or not stated.issuperset(judgement.accesses):
            hint = "this is a defect of the tool; tell its author"
            raise Refused("judged_again", "the statement does more than its plan says", hint)
    return judged


def leaves_something(intent: Intent) -> bool:
    """Whether a call does more than read: its reply waits until its end is durable."""
    kept = any(access.action in _KEPT for access in intent.accesses)
    return intent.to_file or intent.stays or kept
