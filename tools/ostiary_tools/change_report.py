"""A change in a few lines for the model; values of rows stand apart, as data."""

from collections.abc import Iterator

from ostiary_tools.change import Changed, Sample, TableCount
from ostiary_tools.effects import Via
from ostiary_tools.result import Content, Rows, Text

_CELL_CHARS = 60
_TABLES = 10
_NAMED = 5


def report(changed: Changed) -> Content:
    """What was done or would be, and what can be done next."""
    head = Text("\n".join(_lines(changed)))
    if not changed.samples:
        return Content((head,))
    return Content((head, Text("\n".join(line for sample in changed.samples for line in _sample(sample)), untrusted=True)))


def told(changed: Changed) -> tuple[str, ...]:
    """What people are shown of it before it is applied: the rows of every table, and the samples that its caller was shown."""
    lines = [*map(_table, changed.tables), *_listed("triggers", changed.triggers), _undone(changed)]
    return (*lines, *(line for sample in changed.samples for line in _sample(sample)))


def _lines(changed: Changed) -> Iterator[str]:
    doing = {"proposed": "nothing is changed yet"}.get(changed.state, changed.state)
    yield f"change {changed.change} on {changed.datasource}: {doing}"
    if changed.counts:
        yield f"rows per statement: {', '.join(map(str, changed.counts))}"
    for table in changed.tables[:_TABLES]:
        yield _table(table)
    if len(changed.tables) > _TABLES:
        yield f"and {len(changed.tables) - _TABLES} more tables"
    if not changed.tables:
        yield "no row is another afterwards"
    yield from _listed("triggers", changed.triggers)
    yield from _listed("numbers drawn, which stay drawn", changed.sequences)
    locks = [f"{'.'.join(lock.relation)} {lock.mode}{_waiting(lock.waiting, rewritten=lock.rewritten)}" for lock in changed.locks]
    if changed.state == "proposed":
        yield from _listed("locks", tuple(locks))
    yield from _listed("not as shown, since they are others at each run", changed.varying)
    yield from _listed("as triggers wrote it, and they wrote again", changed.left)
    yield from _next(changed)


def _table(table: TableCount) -> str:
    numbers = ((table.inserted, "+"), (table.updated, "~"), (table.deleted, "-"))
    via = f" ({table.via.value})" if table.via is not Via.STATEMENT else ""
    return f"{table.table}: {' '.join(f'{sign}{number}' for number, sign in numbers if number)}{via}"


def _listed(what: str, names: tuple[str, ...]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{what}: {', '.join(names[:_NAMED])}{more}"


def _waiting(sessions: int, *, rewritten: bool) -> str:
    said = [f"{sessions} waiting"] * bool(sessions) + ["rewritten"] * rewritten
    return f" ({', '.join(said)})" if said else ""


def _next(changed: Changed) -> Iterator[str]:
    match changed.state:
        case "proposed":
            yield _undone(changed)
            if changed.denied:
                yield f"you may not apply it: {changed.denied}"
                return
            waits = f", which waits for {changed.approval}" if changed.approval else ""
            yield f'next, within {_span(changed.good_for_s)}: apply_change(change="{changed.change}"){waits}'
        case "applied":
            until = "" if changed.lasting else f' within {_span(changed.good_for_s)}: revert_change(change="{changed.change}")'
            yield f"{_undone(changed)}{until}"


def _undone(changed: Changed) -> str:
    if changed.lasting:
        return f"cannot be undone: {changed.lasting}"
    return f"can be undone, which {changed.takes}" if changed.takes else "can be undone"


def _span(seconds: float) -> str:
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} seconds"


def _sample(sample: Sample) -> Iterator[str]:
    for rows, when in ((sample.before, "before"), (sample.after, "after")):
        if rows is not None and rows.rows:
            yield f"{sample.table} {when}"
            yield from _csv(rows)


def _csv(rows: Rows) -> Iterator[str]:
    yield ",".join(_field(column.name) for column in rows.columns)
    for row in rows.rows:
        yield ",".join(map(_field, row))


def _field(value: str | None) -> str:
    """As in a reply of `query`, and never longer than some words."""
    if value is None:
        return ""
    short = value if len(value) <= _CELL_CHARS else f"{value[:_CELL_CHARS]}…"
    return '"' + short.replace('"', '""') + '"' if not short or any(c in short for c in ',"\n\r') else short
