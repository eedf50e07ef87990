"""The decision in words, with the tool, the grammar and the policies that a real call would meet."""

from fix_sql import shop_snapshot, view_of

from ostiary.explanation import Explanation, explain_call
from ostiary.policy_files import BUNDLES, read
from ostiary_policies.model import Principal
from ostiary_tools.api import World
from ostiary_tools.query import Query

ENGINE = read(None, BUNDLES, frozenset())
ANALYST = Principal("a", ("analyst",))
VIEW = view_of(shop_snapshot())


def explained(who: Principal, **arguments: object) -> Explanation:
    return explain_call(ENGINE, who, Query(), arguments, World(who, {"shop": VIEW}))


def test_a_permitted_query_is_explained_with_its_rules_and_terms() -> None:
    rules = ("analyst-queries", "analyst-reads", "analyst-sees")
    assert explained(ANALYST, sql="select id from orders") == Explanation(
        allowed=True,
        sentences=(
            "`analyst` may call `query` like this: permitted by `analyst-queries`, `analyst-reads`, `analyst-sees`",
            "at most 1,000 rows",
            "at most 30 seconds in the database",
        ),
        rules=rules,
        statements=("SELECT id FROM public.orders",),
    )


def test_a_denied_query_is_explained_with_each_thing_that_was_refused() -> None:
    told = explained(Principal("a", ("observer",)), sql="select id from orders")
    assert told == Explanation(
        allowed=False,
        sentences=(
            "`observer` may not call `query` like this",
            "`observer` may not call `query`: no policy permits it",
            "`observer` may not read column `shop.public.orders.id`: no policy permits it",
            "`observer` may not read table `shop.public.orders`: no policy permits it",
        ),
        rules=(),
    )


def test_a_statement_the_grammar_refuses_is_explained_with_the_rule_of_the_grammar() -> None:
    told = explained(ANALYST, sql="delete from orders")
    assert not told.allowed
    assert told.sentences[0].startswith("refused before any policy was asked: ")
    assert told.sentences[1] == f"rule `{told.rules[0]}`"


def test_arguments_the_tool_does_not_take_are_named() -> None:
    told = explained(ANALYST, sequel="select 1")
    assert told.sentences == ("the arguments are not valid", "`sequel`: extra inputs are not permitted")
