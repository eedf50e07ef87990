"""What a tool asks the client's side before it states its intent, and what came back.

The call ends with the questions and is planned again with the answers: nothing is held
open meanwhile. An answer is what the client's software says. It is input like any
argument and proves no person's consent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ValidationError


@dataclass(frozen=True, slots=True)
class Form:
    """Asks the user to fill in the fields of a flat model."""

    message: str
    fields: type[BaseModel]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Asks the client's model. Only clients of the modern era are asked that."""

    prompt: str
    max_tokens: int = 1000


@dataclass(frozen=True, slots=True)
class Roots:
    """Asks which folders the client works in. Only clients of the modern era are asked that."""


Question = Form | Sampling | Roots


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the model of a form, the text of a sample, the addresses of roots; `None` unless it was accepted."""

    action: Literal["accept", "decline", "cancel"]
    value: Any = None


class InputNeeded(Exception):
    """The call needs answers before it can be planned."""

    def __init__(self, questions: Mapping[str, Question], state: str) -> None:
        super().__init__(", ".join(questions))
        self.questions = questions
        self.state = state


@dataclass(frozen=True, slots=True)
class Client:
    """Who can be asked what, and the answers so far."""

    kinds: frozenset[type] = frozenset()
    """Of `Form`, `Sampling` and `Roots`, those the client says it can answer."""
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Answers by their keys, as the protocol words them; not yet believed."""
    state: str = ""
    """What the tool gave with its last questions; it came back sealed."""

    def ask(self, questions: Mapping[str, Question], state: str = "") -> dict[str, Answer]:
        """The answers to all of these. Raises InputNeeded for those that are missing or have another form than asked for."""
        answers = {key: _answer(question, self.given.get(key)) for key, question in questions.items()}
        missing = {key: questions[key] for key, answer in answers.items() if answer is None}
        if missing:
            raise InputNeeded(missing, state)
        return {key: answer for key, answer in answers.items() if answer is not None}


def _answer(question: Question, given: Mapping[str, Any] | None) -> Answer | None:
    if given is None:
        return None
    try:
        match question:
            case Form(fields=fields):
                return _filled(fields, given)
            case Sampling():
                return Answer("accept", str(given["content"]["text"]))
            case Roots():
                return Answer("accept", tuple(str(root["uri"]) for root in given["roots"]))
    except (KeyError, TypeError, ValidationError):
        return None


def _filled(fields: type[BaseModel], given: Mapping[str, Any]) -> Answer | None:
    match given["action"]:
        case "accept":
            return Answer("accept", fields.model_validate(given.get("content") or {}))
        case "decline" | "cancel" as action:
            return Answer(action)
        case _:
            return None
