"""Verified examples for one caller: those he may run himself, and whose words name nothing that is hidden from him."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ostiary.example_files import ExampleSet
from ostiary.refusal import refusal
from ostiary_policies.engine import Engine
from ostiary_policies.model import Column, Denial, Intent, Table
from ostiary_tools.api import Refused, SchemaView, World
from ostiary_tools.examples import Example, ShownExample, alike
from ostiary_tools.identifiers import one_line
from ostiary_tools.sql import bind, judge
from ostiary_tools.sql.comments import has_comment
from ostiary_tools.sql.hidden_names import hidden_in_prose, hidden_in_sql
from ostiary_tools.sql.judge import Judged

_MOST_SHOWN = 5
_TOOL = "query"
"""What the statement of an example is for."""


class NotShown(Exception):
    """The caller may not see the example; the message says why, to its owner."""


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of this installation."""

    files: ExampleSet
    datasources: frozenset[str]
    """All that are configured."""

    async def nearest(self, question: str, engine: Engine, world: World) -> Mapping[str, tuple[ShownExample, ...]]:
        """By datasource: those most like the question that the caller may see, nearest first; judged away from the event loop."""
        found = {}
        for name in world.views:
            if candidates := self.files.of(name):
                found[name] = await asyncio.to_thread(self._nearest, question, candidates, engine, world)
        return found

    def _nearest(self, question: str, examples: Iterable[Example], engine: Engine, world: World) -> tuple[ShownExample, ...]:
        found: list[ShownExample] = []
        for likeness, example in alike(question, examples):
            try:
                found.append(self.shown(example, engine, world, likeness))
            except NotShown:
                continue
            if len(found) == _MOST_SHOWN:
                break
        return tuple(found)

    def shown(self, example: Example, engine: Engine, world: World, likeness: float = 1.0) -> ShownExample:
        """The example as the caller of this world is shown it. Raises NotShown."""
        view = world.views.get(example.datasource)
        if view is None:
            raise NotShown(f"datasource `{example.datasource}` is not there for it")
        judged = fitted(example, view)
        intent = Intent(_TOOL, {}, judged.accesses, view.datasource, (bind(judged, ()),))
        decision = engine.decide(world.principal, intent)
        if isinstance(decision, Denial):
            raise NotShown(refusal(decision, world).message)
        elsewhere = self.datasources - world.views.keys() - world.unavailable.keys()
        for place, text in (("question", example.question), ("note", example.note)):
            if name := hidden_in_prose(view, text, elsewhere):
                raise NotShown(f"its {place} names `{name}`, which is hidden from it")
        sql = _sql(example, judged)
        for text in (sql, judged.statement.text):
            if name := hidden_in_sql(view, text):
                raise NotShown(f"its SQL names `{name}`, which is hidden from it")
        return ShownExample(example.question, sql, example.note, _relations(judged), likeness)


def fitted(example: Example, view: SchemaView) -> Judged:
    """The example's statement, as the view has it. Raises NotShown when it is none that such a caller could run as it stands."""
    try:
        judged = judge(example.sql, view)
    except Refused as error:
        raise NotShown(error.message) from error
    if judged.kind != "select" or judged.parameter_count:
        raise NotShown("its SQL is no SELECT without parameters")
    if one_line(judged.statement.text, len(judged.statement.text)) != judged.statement.text:
        raise NotShown("its SQL holds a line break, or spaces in a row, in a text or a name")
    return judged


def _sql(example: Example, judged: Judged) -> str:
    """On one line: as it was written, or as it was printed where comments say what nobody judged."""
    return judged.statement.text if has_comment(example.sql) else one_line(example.sql, len(example.sql))


def _relations(judged: Judged) -> tuple[tuple[str, str], ...]:
    found = set()
    for access in judged.accesses:
        match access.resource:
            case Table(schema=schema, name=name) | Column(schema=schema, table=name):
                found.add((schema, name))
    return tuple(sorted(found))
