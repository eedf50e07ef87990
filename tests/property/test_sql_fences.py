"""What must hold of the text that is run in the place of a judged one."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any

from fix_sql import cases, sees_everything, shop_snapshot
from gen_queries import generated
from hypothesis import given, settings
from hypothesis import strategies as st
from pglast import ast
from pglast.parser import parse_sql

from ostiary_policies.actions import Action
from ostiary_policies.masks import Mask, MaskKind
from ostiary_policies.model import Column, Function, Table
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql.judge import Judged, judge, judge_afresh
from ostiary_tools.sql.tree import levels, nodes, same
from ostiary_tools.view import RowTerms, SchemaView, hash_key

TYPED = {"id": "int4", "total": "numeric", "placed_at": "timestamptz"}
MASKS = [Mask(MaskKind.NULL), Mask(MaskKind.REDACT), Mask(MaskKind.EMAIL), Mask(MaskKind.HASH), Mask(MaskKind.FIRST, "2")]
RULES = ["TRUE", "FALSE", '"id" IS NOT NULL', "\"name\" OPERATOR(pg_catalog.=) 'x' OR FALSE"]


def _typed(relation: Relation) -> Relation:
    kinds = (TYPED.get(column.name, "text") for column in relation.columns)
    columns = (replace(c, kind=("pg_catalog", kind), deterministic=True) for c, kind in zip(relation.columns, kinds, strict=True))
    return replace(relation, columns=tuple(columns))


SNAPSHOT = replace(shop_snapshot(), relations={name: _typed(relation) for name, relation in shop_snapshot().relations.items()})
EVERYTHING = sees_everything(SNAPSHOT)
TABLES = sorted(SNAPSHOT.relations)
COLUMNS = sorted(
    (
        relation.column_resource(SNAPSHOT.datasource, column)
        for relation in SNAPSHOT.relations.values()
        for column in relation.columns
        if column.name not in TYPED
    ),
    key=repr,
)
TEXTS = [case.sql for folder in ("honest", "refuse") for case in cases(folder)]
TEXTS += [asked.text for asked in islice(generated(SNAPSHOT, 11, without="xml"), 300)]
MASKED = st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(MASKS), max_size=12)
RULED = st.dictionaries(st.sampled_from(TABLES), st.sampled_from(RULES), max_size=4)


def _view(masked: dict[Column, Mask], ruled: dict[tuple[str, str], str]) -> SchemaView:
    def fits(table: tuple[str, str], rule: str) -> bool:
        return all(SNAPSHOT.relations[table].column(name) is not None for name in ("id", "name") if f'"{name}"' in rule)

    return replace(
        EVERYTHING,
        readable=EVERYTHING.readable - frozenset(masked),
        masked=masked,
        rows={table: RowTerms(rule, ("rule",)) for table, rule in ruled.items() if fits(table, rule)},
        hash_key=hash_key("0123456789abcdef0123456789abcdef"),
        kept={},
    )


def _judged(text: str, view: SchemaView) -> Judged | None:
    try:
        return judge(text, view)
    except Refused:
        return None


def _scans(tree: Any) -> Counter[tuple[Any, Any]]:
    every = (node for level in levels(tree) for node in level)
    return Counter((node.schemaname, node.relname) for node in every if isinstance(node, ast.RangeVar) and node.schemaname)


def _unfenced(value: Any, fenced: frozenset[tuple[str, str]]) -> Any:
    """A tree in which each fence is its relation again: another way than the product's to take them out."""
    if isinstance(value, tuple):
        return tuple(_unfenced(part, fenced) for part in value)
    if not isinstance(value, ast.Node):
        return value
    if isinstance(value, ast.RangeSubselect) and (scan := _fenced_scan(value.subquery, fenced)) is not None:
        table: Any = scan.relation if isinstance(scan, ast.RangeTableSample) else scan
        assert table.alias is None
        table.alias = value.alias
        _forget_own_name(table)
        return scan
    for name in value:
        held = getattr(value, name)
        if nodes(held):
            setattr(value, name, _unfenced(held, fenced))
    return value


def _forget_own_name(scan: Any) -> None:
    """A scan has its name as its alias without one too."""
    if scan.alias and scan.alias.aliasname == scan.relname and not scan.alias.colnames:
        scan.alias = None


def _fenced_scan(select: Any, fenced: frozenset[tuple[str, str]]) -> Any:
    sources: Any = select.fromClause or ()
    if len(sources) != 1:
        return None
    scan = sources[0]
    table = scan.relation if isinstance(scan, ast.RangeTableSample) else scan
    return scan if isinstance(table, ast.RangeVar) and (table.schemaname, table.relname) in fenced else None


@given(st.sampled_from(TEXTS), MASKED, RULED)
@settings(max_examples=500, deadline=None)
def test_without_its_fences_what_runs_is_what_was_judged(text: str, masked: dict[Column, Mask], ruled: dict[tuple[str, str], str]):
    view = _view(masked, ruled)
    found = _judged(text, view)
    if found is None or not found.statement.fenced:
        return
    fenced = frozenset((r.schema, r.name) for r in SNAPSHOT.relations.values() if view.fenced(r))
    for run in (found.statement.fenced, found.statement.estimated or found.statement.fenced):
        before, after = parse_sql(found.statement.text)[0].stmt, parse_sql(run)[0].stmt
        assert _scans(before) == _scans(after), "every scan is there, and no other"
        for scan in (node for level in levels(before) for node in level if isinstance(node, ast.RangeVar)):
            _forget_own_name(scan)
        assert same(before, _unfenced(after, fenced))


@given(st.sampled_from(TEXTS), MASKED, RULED)
@settings(max_examples=300, deadline=None)
def test_what_runs_is_the_same_when_its_judged_text_is_judged_again(
    text: str, masked: dict[Column, Mask], ruled: dict[tuple[str, str], str]
):
    view = _view(masked, ruled)
    if (found := _judged(text, view)) is not None:
        again = judge_afresh(found.statement.text, view)
        assert (again.statement.fenced, again.statement.estimated) == (found.statement.fenced, found.statement.estimated)


@given(st.sampled_from(TEXTS), MASKED, RULED)
@settings(max_examples=300, deadline=None)
def test_what_runs_is_within_what_was_permitted(text: str, masked: dict[Column, Mask], ruled: dict[tuple[str, str], str]):
    """Judged as a statement of somebody who may read everything, it reads the same tables and runs the same functions of users."""
    view = _view(masked, ruled)
    found = _judged(text, view)
    if found is None or not found.statement.fenced or found.catalogs:
        return
    # The only function of a mask that agents may not call; it says how the database writes its texts.
    owner = judge(found.statement.fenced.replace("pg_catalog.getdatabaseencoding()", "'UTF8'"), EVERYTHING)

    def reached(judged: Judged, kind: type) -> set[object]:
        return {(one.resource) for one in judged.accesses if isinstance(one.resource, kind) and one.action is not Action.SEE}

    assert reached(owner, Table) == reached(found, Table)
    assert reached(owner, Function) == reached(found, Function)
    of_fences = {
        column
        for column in EVERYTHING.readable
        if isinstance(column, Column)
        and (column.schema, column.table) in {(r.schema, r.name) for r in SNAPSHOT.relations.values() if view.fenced(r)}
    }
    assert reached(owner, Column) <= reached(found, Column) | of_fences, "beside the fences no column is read that was not before"
