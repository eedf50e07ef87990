"""Names that a caller may not know, found in text that people wrote.

An example is prose and SQL of the owner's; both may name a table that its reader must
not hear of. A text is compared word by word with the names of everything hidden from
the caller, as `salaries`, `Salary` and `employee salaries` for `employee_salaries`. It errs
towards a find: what looks like a hidden name and is an ordinary word is one too.
"""

import re
from collections.abc import Iterable, Iterator

from pglast.keywords import COL_NAME_KEYWORDS, RESERVED_KEYWORDS, TYPE_FUNC_NAME_KEYWORDS, UNRESERVED_KEYWORDS

from ostiary_policies.model import Resource
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.view import SchemaView
from ostiary_tools.words import FILLERS, parts

_TOKEN = re.compile(r"\w+")
_LONGEST = 8
"""Parts of a name; more of one are compared as the first so many."""
_KEYWORDS = RESERVED_KEYWORDS | COL_NAME_KEYWORDS | TYPE_FUNC_NAME_KEYWORDS | UNRESERVED_KEYWORDS
_KEPT = "names hidden and shown"


def hidden_in_prose(view: SchemaView, text: str, besides: Iterable[str] = ()) -> str:
    """The first hidden name in the text, as it is compared, or nothing; `besides` are hidden names that are not of the schema."""
    hidden, shown = _names(view)
    return _first(text, hidden | (frozenset(map(_core, besides)) - shown), shown)


def hidden_in_sql(view: SchemaView, sql: str) -> str:
    """Likewise of a judged statement: its aliases and constants. Words of the language and built-in names tell nothing."""
    hidden, shown = _names(view)
    known = _KEYWORDS | {name for schema, name in view.snapshot.functions if schema == "pg_catalog"}
    known |= {kind.name for kind in view.snapshot.details.builtin_types}
    return _first(sql, hidden - frozenset(map(_core, known)), shown)


def _first(text: str, hidden: frozenset[str], shown: frozenset[str]) -> str:
    pieces = [piece for token in _TOKEN.findall(text) for piece in _pieces(token, shown)]
    for start in range(len(pieces)):
        for end in range(start + 1, min(start + _LONGEST, len(pieces)) + 1):
            if "".join(pieces[start:end]) in hidden:
                return " ".join(pieces[start:end])
    return ""


def _pieces(token: str, shown: frozenset[str]) -> tuple[str, ...]:
    """A word's parts; the name of something shown is one piece, whatever its parts mean elsewhere."""
    whole = _core(token)
    return (whole,) if whole in shown else parts(token)


def _names(view: SchemaView) -> tuple[frozenset[str], frozenset[str]]:
    """The names hidden and those shown, as they are compared. What shares its name with something shown is not among the hidden."""
    if _KEPT not in view.kept:
        all_names = {True: set[str](), False: set[str]()}
        for name, resource in _named(view.snapshot):
            all_names[resource in view.visible].add(_core(name))
        # Who sees a relation sees what schema it is in.
        shown = frozenset(all_names[True]) | {_core(relation.schema) for relation in view.relations()}
        view.kept[_KEPT] = frozenset(all_names[False]) - shown - FILLERS - {""}, shown
    hidden, shown = view.kept[_KEPT]
    return hidden, shown


def _named(snapshot: Snapshot) -> Iterator[tuple[str, Resource]]:
    for schema in snapshot.schemas:
        yield schema, snapshot.schema_resource(schema)
    for relation in snapshot.relations.values():
        yield relation.name, relation.resource(snapshot.datasource)
        for column in relation.columns:
            yield column.name, relation.column_resource(snapshot.datasource, column)
    for schema, name in snapshot.functions:
        if schema not in ("pg_catalog", "information_schema"):
            yield name, snapshot.function_resource(schema, name)
    for kind in snapshot.types.values():
        yield kind.name, snapshot.schema_resource(kind.schema)


def _core(name: str) -> str:
    return "".join(_of(_TOKEN.findall(name)))


def _of(tokens: Iterable[str]) -> Iterator[str]:
    for number, part in enumerate(part for token in tokens for part in parts(token)):
        if number < _LONGEST:
            yield part
