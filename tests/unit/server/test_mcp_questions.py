"""What a request of the modern era brings back of the questions before it."""

import json
from typing import Any

import mcp.types as t

from ostiary.mcp_questions import Earlier

YES = t.ElicitResult(action="accept", content={"approve": True})
THEN = 1_000_000.0
LAPSES = THEN + 600


def earlier(state: str | None, said: t.ElicitResult | None = YES) -> Earlier:
    answers: dict[str, Any] | None = {"approve": said} if said else None
    return Earlier.of(t.CallToolRequestParams(name="launch", input_responses=answers, request_state=state))


def counted(state: str, about: str, now: float, said: t.ElicitResult | None = YES) -> tuple[Any, ...]:
    """Whether it was a yes, since when, and under which number; empty where nothing counts."""
    found = earlier(state, said).answer(about, now)
    return () if found is None else (found[0].approved, found[1], found[0].number)


def test_a_yes_lapses_ten_minutes_after_it_came_however_often_the_call_asked_again():
    state = earlier(None).state("first", {})
    found = []
    for now in (THEN, THEN + 1, THEN + 300, LAPSES - 1):
        approved, since, number = counted(state, "first", now)
        found.append((approved, since, number))
        state = earlier(state).state(f"another at {now}", {"first": since})
    assert {(approved, since) for approved, since, _ in found} == {(True, THEN)}
    assert len({number for *_, number in found}) == 4
    assert counted(state, "first", LAPSES) == ()
    assert counted(state, "never answered", THEN) == ()


def test_a_yes_counts_again_only_with_an_answer_to_the_question_that_came_after_it():
    """Else one yes would run a tool up to its own question again and again."""
    state = earlier(None).state("second", {"first": THEN})
    assert counted(state, "first", THEN)[:2] == (True, THEN)
    assert counted(state, "first", THEN, None) == ()
    assert "first" in json.loads(state)["approved"]
