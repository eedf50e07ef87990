"""The `query` tool's plan."""

import json

import pytest
from fix_sql import shop_snapshot, view_of

from ostiary.mcp_app import input_schema
from ostiary_policies.model import Principal, Statement
from ostiary_tools.api import Refused, World
from ostiary_tools.query import Query, QueryArgs
from ostiary_tools.sql import judge

VIEW = view_of(shop_snapshot())
WORLD = World(Principal("a", ("analyst",)), {"shop": VIEW})


def test_the_intent_carries_the_printed_statement_its_values_and_every_access():
    sql = "select id from orders where total > $1 and status = $2 and $3 and note is distinct from $4"
    intent = Query().plan(QueryArgs(sql=sql, params=(1.5, "paid", True, None)), WORLD)
    judged = judge(sql, VIEW)
    assert intent.statements == (Statement(judged.statement.text, ("1.5", "paid", "true", None)),)
    assert intent.accesses == judged.accesses
    assert (intent.tool, intent.datasource) == ("query", "shop")


@pytest.mark.parametrize("params", [(), (1, 2)])
def test_as_many_values_as_parameters_are_demanded(params: tuple[int, ...]):
    with pytest.raises(Refused) as refused:
        Query().plan(QueryArgs(sql="select $1", params=params), WORLD)
    assert refused.value.rule == "parameters"


def test_the_tool_costs_a_model_less_than_900_characters():
    assert len(json.dumps(input_schema(QueryArgs))) + len(Query.description) + len(Query.title) < 900
