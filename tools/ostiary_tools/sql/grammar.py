"""What a statement may consist of: an allowlist of the grammar's nodes, the two kinds of reads and the four of changes.

A node that is not listed is refused, so what a later grammar adds is closed until
somebody has read it. Says nothing about names.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pglast import ast

from ostiary_tools.catalogs import Name
from ostiary_tools.errors import Refused
from ostiary_tools.sql import catalogs, expansion
from ostiary_tools.sql.inventory import NODES
from ostiary_tools.sql.tree import CHILDREN, levels

MAX_NODES = 30_000
MAX_DEPTH = 250

Kind = Literal["select", "explain", "insert", "update", "delete", "merge"]

_FORBIDDEN = {
    "IntoClause": ("select_into", "`SELECT INTO` makes a table", "drop the INTO clause"),
    "LockingClause": ("locking", "`FOR UPDATE` and `FOR SHARE` lock rows", "drop the locking clause"),
    "InsertStmt": ("read_only", "`INSERT` writes", "only reads are run"),
    "UpdateStmt": ("read_only", "`UPDATE` writes", "only reads are run"),
    "DeleteStmt": ("read_only", "`DELETE` writes", "only reads are run"),
    "MergeStmt": ("read_only", "`MERGE` writes", "only reads are run"),
    "CopyStmt": ("read_only", "`COPY` reaches files and programs of the server", "write a SELECT"),
}
_ALLOWED = frozenset(kind for kind in CHILDREN if kind.__name__ in NODES)
_PLAIN = _ALLOWED - expansion.REPEATING - {ast.ParamRef, ast.A_Indirection, ast.RangeSubselect}
"""Kinds of which nothing more is asked; most nodes are of these."""
_OF_CHANGES = frozenset(
    {
        ast.IndexElem,
        ast.InferClause,
        ast.MergeWhenClause,
        ast.MultiAssignRef,
        ast.OnConflictClause,
        ast.SetToDefault,
    }
)
"""What a change may hold besides; where each may stand, the server's own rules say."""
_CHANGES: Mapping[type, Kind] = {
    ast.InsertStmt: "insert",
    ast.UpdateStmt: "update",
    ast.DeleteStmt: "delete",
    ast.MergeStmt: "merge",
}
_NOT_IN_CHANGES = {
    **_FORBIDDEN,
    **{
        f"{word}Stmt": ("read_only", f"`{word.upper()}` stands within another statement", "send each change by itself")
        for word in ("Insert", "Update", "Delete", "Merge")
    },
    "CopyStmt": ("copy", "`COPY` reaches files and programs of the server", "write an INSERT with several rows"),
    "CurrentOfExpr": ("cursor", "`WHERE CURRENT OF` names a cursor, and there are none", "write a condition"),
    "ReturningClause": ("returning", "`RETURNING` is not run here", "the proposal shows the rows that change"),
    "TruncateStmt": ("truncate", "`TRUNCATE` looks at no row", "write a DELETE"),
}
_CHANGE_HINT = "write one INSERT, UPDATE, DELETE or MERGE"
_STATEMENT_HINT = "write one SELECT, VALUES, TABLE, WITH or EXPLAIN without ANALYZE"
_EXPLAIN_OPTIONS = frozenset({"verbose", "costs", "format", "generic_plan"})
_EXPLAIN_OFF = frozenset({"summary", "memory", "analyze", "buffers", "settings", "wal", "timing"})
"""Allowed when they say no: they would execute the statement or show what varies from run to run."""


_Refusing = Callable[[Any, str], Refused]


@dataclass(frozen=True, slots=True)
class Grammar:
    """A statement made of allowed nodes only."""

    kind: Kind
    select: Any
    """The statement itself, without EXPLAIN."""
    parameter_count: int
    verbose: bool = False
    """EXPLAIN shows every column that a scan carries."""
    selects_fields: bool = False
    """A field is taken of an expression's value: `(array_agg(t))[1].name`."""
    repeats: bool = False
    """The server may write down some part of it more than once."""
    catalogs: tuple[Name, ...] = ()
    """Offered catalogs it reads."""


def check(tree: Any) -> Grammar:
    """Refuse every statement, option and node that is not listed. Raises Refused."""
    explains = isinstance(tree, ast.ExplainStmt)
    options = (tree.options or ()) if explains else ()
    _check_options(options)
    select = tree.query if explains else tree
    if not isinstance(select, ast.SelectStmt):
        raise _refusal(select, "is not run here")
    found = _walked(select, "explain" if explains else "select", _ALLOWED, _refusal)
    return replace(found, verbose=any(str(option.defname).lower() == "verbose" for option in options))


def check_change(tree: Any) -> Grammar:
    """The same of a statement that changes rows; what stands within it only reads. Raises Refused."""
    kind = _CHANGES.get(type(tree))
    if kind is None:
        raise _refusal_of_change(tree, "is no change of rows")
    return _walked(tree, kind, _ALLOWED | _OF_CHANGES, _refusal_of_change)


def _walked(select: Any, kind_of_all: Kind, allowed: Collection[type], refusing: _Refusing) -> Grammar:
    parameters: set[int] = set()
    selects_fields = repeats = False
    supplied: set[int] = set()
    count = 0
    for depth, level in enumerate(levels(select), 1):
        count += len(level)
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise Refused("size", "the statement has too many parts or is nested too deeply", "split it into smaller statements")
        for node in level:
            kind = type(node)
            if kind not in allowed and node is not select:
                raise refusing(node, "is not allowed")
            if kind in _PLAIN:
                continue
            repeats = repeats or expansion.repeats(node)
            selects_fields = selects_fields or _selects_field(node)
            if kind is ast.ParamRef and id(node) not in supplied:
                parameters.add(node.number or 0)
            elif isinstance(node, ast.RangeSubselect) and catalogs.scanned(node) is not None:
                supplied.add(id(catalogs.parameter(node)))
    if parameters != set(range(1, len(parameters) + 1)):
        raise Refused("parameters", "parameters must be numbered `$1`, `$2` … without a gap", "renumber them")
    return Grammar(kind_of_all, select, len(parameters), selects_fields=selects_fields, repeats=repeats)


def _selects_field(node: Any) -> bool:
    return (
        isinstance(node, ast.A_Indirection)
        and not isinstance(node.arg, ast.ColumnRef)
        and any(isinstance(part, (ast.String, ast.A_Star)) for part in node.indirection or ())
    )


def _refusal(node: Any, verb: str) -> Refused:
    name = type(node).__name__
    if name in _FORBIDDEN:
        return Refused(*_FORBIDDEN[name])
    words = name.removesuffix("Stmt")
    return Refused("statement", f"`{words}` {verb}", _STATEMENT_HINT)


def _refusal_of_change(node: Any, verb: str) -> Refused:
    name = type(node).__name__
    if name in _NOT_IN_CHANGES:
        return Refused(*_NOT_IN_CHANGES[name])
    return Refused("statement", f"`{name.removesuffix('Stmt')}` {verb}", _CHANGE_HINT)


def _check_options(options: tuple[Any, ...]) -> None:
    for option in options:
        name = str(option.defname).lower()
        if name not in _EXPLAIN_OPTIONS and not (name in _EXPLAIN_OFF and _says_no(option.arg)):
            raise Refused("explain", f"`EXPLAIN` with `{name}` is not run", "use VERBOSE, COSTS, FORMAT or GENERIC_PLAN")
        if option.arg is not None and not isinstance(option.arg, (ast.String, ast.Integer, ast.Boolean)):
            raise Refused("explain", f"the value of `{name}` is no plain word", "use VERBOSE, COSTS, FORMAT or GENERIC_PLAN")


def _says_no(value: Any) -> bool:
    if isinstance(value, ast.String):
        return str(value.sval).lower() in {"off", "false"}
    if isinstance(value, ast.Integer):
        return value.ival == 0 or value.ival is None
    return isinstance(value, ast.Boolean) and not value.boolval
