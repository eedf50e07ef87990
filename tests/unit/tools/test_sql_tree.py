"""The walk of a tree sees every node that is in it."""

import pytest
from fix_sql import cases
from pglast import ast, parse_sql

from ostiary_tools.sql.tree import levels, same


def everything(value: object) -> list[ast.Node]:
    """Every node, found by looking at the value of every field, whatever type is declared for it."""
    if isinstance(value, tuple):
        return [node for part in value for node in everything(part)]
    if not isinstance(value, ast.Node):
        return []
    return [value, *(node for name in value for node in everything(getattr(value, name)))]


@pytest.mark.parametrize(
    "text", [case.sql for folder in ("honest", "refuse") for case in cases(folder) if case.rule not in {"size", "syntax"}]
)
def test_no_node_is_missed(text: str):
    tree = parse_sql(text)
    found = [node for statement in tree for level in levels(statement) for node in level]
    assert sorted(map(id, found)) == sorted(map(id, everything(tree)))


def test_trees_that_differ_anywhere_are_not_the_same():
    assert same(parse_sql("select a from t where b in (1, 2)"), parse_sql("SELECT  a FROM t WHERE (b IN (1,2))"))
    for other in ("select a from t where b in (1, 3)", "select a from t where b in (1, 2, 2)", "select c from t where b in (1, 2)"):
        assert not same(parse_sql("select a from t where b in (1, 2)"), parse_sql(other))
