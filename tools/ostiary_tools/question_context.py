"""What of a schema a question needs, within so many characters: outlines, ways to join, values, examples, and what had no room.

It is chosen from the arguments and the world alone, so that a tool's `plan` and its `run` choose the same; values are read
last, by statements that `plan` has stated, and fill what room is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Statement
from ostiary_tools.api import Session
from ostiary_tools.describe import sight
from ostiary_tools.errors import ToolError
from ostiary_tools.examples import ShownExample
from ostiary_tools.identifiers import one_line, qualified
from ostiary_tools.linking import Linking, link
from ostiary_tools.outlines import Outline, outline
from ostiary_tools.value_samples import Samples, Sampling, sampled, sampling
from ostiary_tools.view import SchemaView

_FOR_LEFT_OUT = 350
"""Characters kept for what is said of it."""
_EXAMPLES_SHARE = 0.3
_WAYS_SHARE = 0.16
_SAMPLES_SHARE = 0.15
_MOST_SAMPLED = 8
"""Relations whose values are looked for; each is a statement."""
_BEST = 3
"""Relations that are shown in full before others that are farther from the question are shown at all."""
_NAMED = 8
"""Relations without room that are named."""
_KEPT = "question context"
_PER_LINE = 3
"""Characters that a line takes besides its own: its end, and a mark before it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What was chosen. Its lines are text from the database and from examples."""

    outlines: tuple[Outline, ...]
    ways: tuple[str, ...]
    examples: tuple[ShownExample, ...]
    left_out: tuple[str, ...]
    """Names of relations that may be needed and had no room."""
    further: int
    """Relations that may be seen and are farther from the question."""
    accesses: tuple[Access, ...]
    """To see all that is named, and to read what the statements read."""
    samplings: tuple[Sampling, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Those that look for values."""
        return tuple(one.judged.statement for one in self.samplings)

    @property
    def marks(self) -> frozenset[str]:
        """Marks in the outlines that a reader has to know."""
        return frozenset(mark for one in self.outlines for mark in one.marks)

    def lines(self) -> list[str]:
        """All of it."""
        lines = [line for one in self.outlines for line in one.lines()]
        lines += ["shortest ways through other tables", *self.ways] if self.ways else []
        return [*lines, *_example_lines(self.examples)] or ["There is no table that you may see."]

    def omission(self) -> str:
        """What had no room, in a sentence; empty where all had."""
        names = ", ".join(f"`{one_line(name, 80)}`" for name in self.left_out[:_NAMED])[: _FOR_LEFT_OUT - 200]
        more = len(self.left_out) - _NAMED
        said = [
            "types and comments of tables whose columns stand by name alone" if any(not one.full for one in self.outlines) else "",
            f"tables {names}" + (f" and {more} more" if more > 0 else "") if names else "",
            f"{self.further} tables farther from the question" if self.further else "",
        ]
        told = "; ".join(s for s in said if s)
        return f"Left out for room: {told}." if told else ""


def gather(view: SchemaView, question: str, examples: Sequence[ShownExample], room: int) -> Context:
    """Choose what takes at most `room` characters, some of it left for values.

    The last answer is kept by the view: `plan`, which is made away from the event loop, and `run` ask for the same.
    """
    asked = (question, tuple(examples), room)
    kept: tuple[object, Context] | None = view.kept.get(_KEPT)
    if kept is None or kept[0] != asked:
        kept = view.kept[_KEPT] = (asked, _gathered(view, question, examples, room))
    return kept[1]


def _gathered(view: SchemaView, question: str, examples: Sequence[ShownExample], room: int) -> Context:
    room -= _FOR_LEFT_OUT
    shown = _examples_within(examples, int(room * _EXAMPLES_SHARE))
    room -= _length(_example_lines(shown))
    linking = link(view, question, examples)
    ways = _ways_within(linking, int(room * _WAYS_SHARE))
    room -= _length(ways)
    outlines, left_out = _outlines_within(view, linking, int(room * (1 - _SAMPLES_SHARE)))
    asked = (sampling(view, one.relation) for one in outlines if one.full and one.near)
    samplings = tuple(one for one in asked if one is not None)[:_MOST_SAMPLED]
    return Context(
        outlines, ways, shown, left_out, linking.further, _accesses(view, outlines, linking, shown, samplings), samplings
    )


async def with_values(context: Context, session: Session, room: int) -> Context:
    """With the values of its columns, as many as `room` more characters hold."""
    by_relation = {id(one.relation): one for one in context.samplings}
    outlines = []
    for one in context.outlines:
        found = await _values(by_relation.get(id(one.relation)), session)
        richer, spent = one.with_values(found, room)
        outlines.append(richer)
        room -= spent
    return replace(context, outlines=tuple(outlines))


async def _values(of: Sampling | None, session: Session) -> Samples:
    try:
        return sampled(of, await session.rows(of.judged.statement)) if of is not None else {}
    except ToolError:
        return {}  # too slow, too dear, changed meanwhile: the schema says enough without them


def _accesses(
    view: SchemaView,
    outlines: Sequence[Outline],
    linking: Linking,
    examples: Sequence[ShownExample],
    samplings: Sequence[Sampling],
) -> tuple[Access, ...]:
    seen = [access for one in outlines for access in sight(view, one.relation)]
    names = [*((one.relation.schema, one.relation.name) for one in linking.links), *(n for one in examples for n in one.relations)]
    named = [Access(Action.SEE, view.snapshot.relations[name].resource(view.datasource)) for name in names]
    read = [access for one in samplings for access in one.judged.accesses]
    return tuple(dict.fromkeys([*seen, *named, *read]))


def _outlines_within(view: SchemaView, linking: Linking, room: int) -> tuple[tuple[Outline, ...], tuple[str, ...]]:
    """Each in short before most are in full, so that a long one takes no other's place; the best in full before the farthest."""
    links = linking.links
    near = [number for number, one in enumerate(links) if one.near]
    others = [number for number, one in enumerate(links) if not one.near]
    kept: dict[int, Outline] = {}
    steps = ((near, False), (near[:_BEST], True), (others, False), (near[_BEST:], True), (others, True))
    for number, full in ((number, full) for numbers, full in steps for number in numbers):
        before = kept.get(number)
        if full and before is None:
            continue
        now = outline(view, links[number], full=full)
        more = _length(now.lines()) - (_length(before.lines()) if before else 0)
        if more <= room:
            kept[number] = now
            room -= more
    left_out = (one.relation for number, one in enumerate(links) if number not in kept)
    return tuple(kept[number] for number in sorted(kept)), tuple(qualified(one.schema, one.name) for one in left_out)


def _ways_within(linking: Linking, room: int) -> tuple[str, ...]:
    kept = []
    for way in linking.ways:
        line = f"  {way.sql}"
        if _length([line]) <= room:
            kept.append(line)
            room -= _length([line])
    return tuple(kept)


def _examples_within(examples: Sequence[ShownExample], room: int) -> tuple[ShownExample, ...]:
    kept: list[ShownExample] = []
    for one in examples:
        if _length(_example_lines([*kept, one])) <= room:
            kept.append(one)
    return tuple(kept)


def _example_lines(examples: Sequence[ShownExample]) -> list[str]:
    lines = [line for one in examples for line in _example(one)]
    return ["verified examples, nearest first", *lines] if lines else []


def _example(one: ShownExample) -> list[str]:
    note = [f"  note: {one_line(one.note, 1_000)}"] if one.note else []
    return [f"  question: {one_line(one.question, 2_000)}", f"  sql: {one.sql}", *note]


def _length(lines: Sequence[str]) -> int:
    return sum(len(line) + _PER_LINE for line in lines)
