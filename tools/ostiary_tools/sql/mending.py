"""An error of the server's analysis in the caller's terms: where in the caller's own text, and what to write instead.

The server speaks of the printed text; a place that cannot be found again in the caller's
is dropped. Hints are made of the statement's own words and of what the caller may see.
Nothing here runs unless a statement failed.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError, scan

from ostiary_tools.errors import DatabaseError
from ostiary_tools.identifiers import identifier, one_line
from ostiary_tools.snapshot import FunctionInfo, Relation
from ostiary_tools.sql import dialects, tree
from ostiary_tools.sql.inventory import FUNCTIONS
from ostiary_tools.sql.syntax import place
from ostiary_tools.view import SchemaView

_WINDOW = 8
"""Words on each side that tell one place from another."""
_COMPARED_PLACES = 200
_PLACED_CHARS = 20_000
"""Longer texts get no place: looking for it would hold the event loop."""
_ADDED = frozenset({"pg_catalog", "public", "."})
"""What the print adds most."""
_MOST = 4
_LABELS = 12
_TEXTS = frozenset({"text", "character varying", "character", "name", "unknown", "citext"})
_PATTERNS = frozenset({"~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*"})
_NUMBERS = frozenset({"integer", "bigint", "numeric"})
_TIMES = ("timestamp", "time ")


@dataclass(frozen=True, slots=True)
class _Fault:
    """What a hint is made from."""

    message: str
    printed: str
    offset: int | None
    view: SchemaView

    def nodes(self) -> Iterator[Any]:
        """Every node of the printed statement."""
        statement: Any = parse_sql(self.printed)[0]
        return (node for level in tree.levels(statement.stmt) for node in level)

    def tables(self) -> dict[str, Relation]:
        """Visible relations by the name they have in the statement."""
        found: dict[str, Relation] = {}
        for node in self.nodes():
            inner = _narrowed(node)
            source = inner or node
            if isinstance(source, ast.RangeVar):
                relation = self.view.relation(str(source.schemaname), str(source.relname))
                alias: Any = node.alias
                if relation is not None:
                    found[str(alias.aliasname) if alias else relation.name] = relation
        return found


def mended(error: DatabaseError, printed: str, written: str | None, view: SchemaView) -> DatabaseError:
    """The error with its place in `written`, the caller's text, and a hint."""
    fault = _Fault(error.message, printed, error.offset, view)
    hint = next((each for each in (make(fault) for make in _HINTS.get(error.sqlstate, (_said,))) if each), error.hint)
    where = _place(printed, error.offset, written) if error.offset is not None and written is not None else ""
    return DatabaseError(error.sqlstate, error.message.replace("pg_catalog.", "") + where, hint)


def _narrowed(node: Any) -> Any:
    """The only table of a plain subselect: what a table that is narrowed to its visible columns became."""
    query: Any = node.subquery if isinstance(node, ast.RangeSubselect) else None
    sources: Any = (query.fromClause or ()) if query is not None else ()
    return sources[0] if len(sources) == 1 and isinstance(sources[0], ast.RangeVar) else None


def _place(printed: str, offset: int, written: str) -> str:
    """Where the token at the offset stands in the caller's text, or nothing when that is not certain."""
    if max(len(printed), len(written)) > _PLACED_CHARS:
        return ""
    try:
        ours, theirs = scan(printed), scan(written)
    except ParseError:
        return ""
    at = next((n for n, token in enumerate(ours) if token.start <= offset <= token.end), None)
    if at is None:
        return ""
    words, wanted = [_word(printed, token) for token in ours], [_word(written, token) for token in theirs]
    if words[at + 1 : at + 2] == ["."] and words[at] not in wanted:
        at += 2  # a schema that only the print names
    found = _counterpart(words, at, wanted) if at < len(words) else None
    if found is None:
        return ""
    token = theirs[found]
    return f" ({place(written, token.start)}, at `{one_line(written[token.start : token.end + 1], 40)}`)"


def _counterpart(printed: list[str], at: int, written: list[str]) -> int | None:
    """The same word in the other text whose neighbours are most like it; `None` when two are alike or there is none."""
    places = [n for n, word in enumerate(written) if word == printed[at]]
    if len(places) == 1:
        return places[0]
    if len(places) > _COMPARED_PLACES:
        return None
    near = _neighbours(printed, at)
    likeness = {n: sum((near & _neighbours(written, n)).values()) for n in places}
    best = [n for n, value in likeness.items() if value == max(likeness.values())]
    if len(best) == 1:
        return best[0]
    # As often in both texts: the third is the third.
    same = [n for n, word in enumerate(printed) if word == printed[at]]
    return places[same.index(at)] if len(same) == len(places) else None


def _neighbours(words: list[str], at: int) -> Counter[tuple[bool, str]]:
    """The words around a place, each with its side."""
    sides = ((False, words[max(0, at - _WINDOW) : at]), (True, words[at + 1 : at + 1 + _WINDOW]))
    return Counter((side, word) for side, around in sides for word in around if word not in _ADDED)


def _word(text: str, token: Any) -> str:
    word = text[token.start : token.end + 1]
    return word if word.startswith("'") else word.strip('"').lower()


def _operator(fault: _Fault) -> str:
    if not fault.message.startswith("operator does not exist: "):
        return ""
    node = next((n for n in fault.nodes() if isinstance(n, ast.A_Expr) and n.location == fault.offset), None)
    if node is None:
        return "cast one side so that both have one type"
    parts: Any = node.name
    name = str(parts[-1].sval)
    left, _, right = fault.message.removeprefix("operator does not exist: ").partition(f" {name} ")
    sides = _side(node.lexpr), _side(node.rexpr)
    return _by_types(name, left, right) or _operands(name, (sides[0], left), (sides[1], right))


def _by_types(name: str, left: str, right: str) -> str:
    """What the types alone say."""
    if name in ("==", "<=>", "===") or (name in ("&&", "||") and "boolean" in (left, right)):
        return dialects.operator(name)
    if name == "+" and {left, right} & _TEXTS:
        return "texts are joined with `||`"
    if left.startswith(_TIMES) and right in _NUMBERS and name in "+-":
        return f"write the number as an interval: `{name} interval '7 days'`"
    return ""


def _operands(name: str, one: tuple[str, str], other: tuple[str, str]) -> str:
    (left, left_type), (right, right_type) = one, other
    if not left or not right:
        return f"the left side is {left_type}, the right side {right_type}: cast one so that both have one type"
    types = f"`{left}` is {left_type}, `{right}` is {right_type}"
    if name in _PATTERNS:
        return f"a pattern is matched with a text: `{left}::text`"
    if "json" in left_type + right_type:
        return f"{types}: take a value as text with `->> 'key'`, and cast it"
    left_text, right_text = left_type in _TEXTS, right_type in _TEXTS
    if left_text == right_text:
        return f"{types}: cast one side so that both have one type"
    if name in ("=", "<>"):
        pair = f"{left}::text {name} {right}" if right_text else f"{left} {name} {right}::text"
    else:
        pair = f"{left}::{right_type} {name} {right}" if left_text else f"{left} {name} {right}::{left_type}"
    return f"{types}: write `{pair}`"


def _side(node: Any) -> str:
    """A short side of an operator as it is written, or nothing."""
    if isinstance(node, ast.ColumnRef):
        words: Any = node.fields
        return ".".join(identifier(str(word.sval)) for word in words if isinstance(word, ast.String))
    if isinstance(node, ast.A_Const):
        value: Any = node.val
        return str(value.ival) if isinstance(value, ast.Integer) else "'…'" if isinstance(value, ast.String) else ""
    return f"${node.number}" if isinstance(node, ast.ParamRef) else ""


def _signatures(fault: _Fault) -> str:
    found = re.match(r"function (?:(\w+)\.)?\"?(\w+)\"?\((.*)\) (?:does not exist|is not unique)", fault.message)
    if found is None:
        return ""
    schema, name, given = found.groups()
    count = given.count(",") + 1 if given else 0
    overloads = sorted(_overloads(fault.view, schema, name), key=lambda f: (abs(f.argument_count - count), f.arguments))
    taken = list(dict.fromkeys(f"`({one_line(f.arguments, 80)})`" for f in overloads))[:_MOST]
    if name == "count" and count > 1:
        return "count several columns as one row: `count(distinct (a, b))`"
    if any(" ORDER BY " in f.arguments for f in overloads):
        return f"write `{name}(…) within group (order by …)`"
    if not taken and name in FUNCTIONS:
        return f"this server is PostgreSQL {fault.view.snapshot.server_version // 10_000}, which has no `{name}`"
    return f"`{name}` takes {' or '.join(taken)}: cast or drop arguments" if taken else ""


def _overloads(view: SchemaView, schema: str | None, name: str) -> Iterator[FunctionInfo]:
    for (owner, known), overloads in view.snapshot.functions.items():
        if known == name and schema in (None, owner):
            reviewed = owner == "pg_catalog" and name in FUNCTIONS
            if reviewed or (owner != "pg_catalog" and view.snapshot.function_resource(owner, name) in view.visible):
                yield from overloads


def _ambiguous(fault: _Fault) -> str:
    found = re.match(r'column reference "(.+)" is ambiguous', fault.message)
    if found is None:
        return ""
    tables = fault.tables().items()
    owners = [alias for alias, relation in tables if any(c.name == found[1] for c in fault.view.columns(relation))]
    written = [f"`{identifier(alias)}.{identifier(found[1])}`" for alias in owners]
    return f"write {' or '.join(written[:_MOST])}" if written else "name the table too: `table.column`"


def _labels(fault: _Fault) -> str:
    name = fault.message.rpartition(" the type ")[2].rpartition(".")[2].strip('"')
    used = {c.type.rpartition(".")[2].strip('"') for relation in fault.tables().values() for c in fault.view.columns(relation)}
    written = re.search(rf"\b{re.escape(name)}\b", fault.printed)
    kinds = [t for t in fault.view.snapshot.types.values() if t.kind == "enum" and t.name == name]
    if len(kinds) != 1 or not (name in used or written):
        return ""
    more = " …" if len(kinds[0].labels) > _LABELS else ""
    return f"labels of `{identifier(name)}`: {', '.join(kinds[0].labels[:_LABELS])}{more}"


_SAID: tuple[tuple[str, str], ...] = (
    (r'column "(.+)" must appear in the GROUP BY', "add `{0}` to GROUP BY, or put it into an aggregate such as `max({0})`"),
    (r'subquery uses ungrouped column "(.+)" from outer', "add `{0}` to GROUP BY of the outer query"),
    (r"aggregate functions are not allowed in WHERE", "filter groups in HAVING, or aggregate in a subselect"),
    (r"aggregate functions are not allowed", "aggregate in a subselect first"),
    (r"aggregate function calls cannot be nested", "compute the inner one in a subselect"),
    (r"aggregate function calls cannot contain window", "compute the window function in a subselect"),
    (r"window functions are not allowed", "compute it in a subselect and filter outside"),
    (r"argument of (\w+) must be type boolean", "compare it with something: {0} takes a condition"),
    (r"(?:\w+) types .+ and .+ cannot be matched", "cast the parts to one type, such as `::text`"),
    (r"for SELECT DISTINCT, ORDER BY", "put what ORDER BY names into the select list, or use GROUP BY"),
    (r"SELECT DISTINCT ON expressions must match", "begin ORDER BY with the expressions of DISTINCT ON"),
    (r"(\w+ BY) position \d+ is not in select list", "number the columns of the select list from 1"),
    (r"each (\w+) query must have the same number of columns", "give every arm of the {0} the same columns"),
    (r"subquery (?:must return only one column|has too many columns)", "select one column in the subselect"),
    (r"could not determine data type of parameter (\$\d+)", "give it a type: `{0}::text`"),
    (r"cannot cast type .+ to", "cast by way of text: `x::text::type`"),
    (r'table name "(.+)" specified more than once', "give each an alias of its own"),
    (r"operator is not unique: unknown \+ unknown", "texts are joined with `||`"),
    (r"could not determine which collation", "add `COLLATE` to one side"),
)
"""The server's words, as patterns → what to do, with the groups of the pattern."""


def _said(fault: _Fault) -> str:
    for pattern, hint in _SAID:
        if found := re.match(pattern, fault.message):
            return hint.format(*found.groups())
    return ""


_HINTS: Mapping[str, tuple[Callable[[_Fault], str], ...]] = {
    "22P02": (_labels,),
    "42702": (_ambiguous,),
    "42725": (_signatures, _said),
    "42883": (_operator, _signatures),
}
