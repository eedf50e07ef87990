"""The walk of a tree sees every node that is in it, and a node holds what its library would let it hold."""

import subprocess
import sys
from pathlib import Path

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


_AGAINST_THE_LIBRARY = """
from pglast import ast, parse_sql

checked = ast.Node.__setattr__
from fix_sql import cases, shop_snapshot, view_of
from ostiary_tools.errors import Refused
from ostiary_tools.sql.judge import judge_afresh

seen = set()

def compared(node, name, value):
    checked(node, name, value)
    kept = getattr(node, name)
    assert isinstance(node, ast.Boolean) or (type(kept) is type(value) and kept == value), (type(node), name, value, kept)
    seen.add((type(node), name))

assert "__setattr__" not in vars(ast.Node)
assert parse_sql("select true")[0].stmt.targetList[0].val.val.boolval is True
ast.Node.__setattr__ = compared
view = view_of(shop_snapshot())
for folder in ("honest", "refuse"):
    for case in cases(folder):
        try:
            judge_afresh(case.sql, view)
        except Refused:
            pass
print(len(seen))
"""


def test_what_a_field_is_set_to_needs_none_of_the_checks_and_conversions_of_the_library():
    # In a process of its own, because the library's way is gone from this one.
    path = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", _AGAINST_THE_LIBRARY], cwd=path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 200, "the statements set hardly any field"
