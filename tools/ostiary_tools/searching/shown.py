"""What was found as a table: each thing once, with its score, the part of its text that was asked for, and its metadata."""

from collections.abc import Iterator, Sequence

from ostiary_tools.result import Hits
from ostiary_tools.searching.question import Question
from ostiary_tools.searching.ranking import RANKED, Ranked, Window
from ostiary_tools.searching.snippets import snippet

_SNIPPET = 300
_VALUE = 200
"""Characters of a value of metadata."""
_FIELDS = 12
"""Columns of metadata."""
_ID = 300


def shown(window: Window, question: Question, offset: int, k: int) -> Hits:
    """The page that begins at `offset`."""
    page = window.ranked[offset : offset + k]
    names = list(dict.fromkeys(name for one in page for name in one.hit.metadata))
    parts = {"hybrid": ("vector", "text"), "text": ("text",), "vector": ()}[question.mode]
    own = ("id", "score", *parts, "snippet")
    columns = (*own, *(f"metadata.{name}" if name in own else name for name in names[:_FIELDS]))
    rows = tuple(tuple(_row(one, parts, question.words, names[:_FIELDS])) for one in page)
    more = len(window.ranked) > offset + k
    return Hits(columns, rows, offset, more, tuple(_notes(window, len(names), more=more)))


def _row(one: Ranked, parts: Sequence[str], words: str, names: Sequence[str]) -> Iterator[str | None]:
    yield one.hit.id
    yield f"{one.score:.4f}"
    if "vector" in parts:
        yield None if one.vector is None else f"{one.vector:.4f}"
    if "text" in parts:
        yield None if one.words is None else f"#{one.words}"
    yield snippet(one.hit.part, words, _SNIPPET)
    for name in names:
        value = one.hit.metadata.get(name)
        yield value if value is None or len(value) <= _VALUE else f"{value[: _VALUE - 1]}…"


def _notes(window: Window, fields: int, *, more: bool) -> Iterator[str]:
    if fields > _FIELDS:
        yield f"{fields - _FIELDS} more fields of metadata are not shown"
    if window.ended:
        yield "the search ended at its limit and there may be other hits: narrow it by a filter"
    elif window.bounded and not more:
        yield f"in this order the best {RANKED} are ranked: narrow it by a filter, or use mode `vector`"
