"""A decision table that does not say what it means must not pass."""

import pytest

from ostiary_policies.cases import CaseResult, run_table
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.errors import TableError

POLICY = """
@id("reads") @limit_rows("10") permit (principal in Role::"r", action, resource);
@id("no") forbid (principal, action, resource is Column) when { resource.tags.contains("pii") };
@id("broken") forbid (principal, action == Action::"call", resource) when { 9223372036854775807 + 1 > 0 };
"""
ENGINE = Engine(PolicySet.parse({"f.cedar": POLICY}, frozenset({"billing"})))
ROW = """
[[case]]
title = "t"
roles = ["r"]
action = "read"
resource = { column = "shop.s.t.c", tags = ["pii"] }
expected = "deny"
"""


def test_a_case_passes_when_decision_rules_and_terms_are_exactly_as_expected() -> None:
    text = (
        ROW
        + 'rules = ["no"]\nterms = {}\n'
        + ROW.replace('"pii"', '"billing"').replace("deny", "permit")
        + "terms = { limit_rows = 10 }"
    )
    assert run_table(ENGINE, text) == [CaseResult("t", ()), CaseResult("t", ())]


@pytest.mark.parametrize(
    ("row", "difference"),
    [
        (ROW.replace("deny", "permit"), "expected permit, got deny"),
        (ROW + "rules = []", "expected the rules none, got `no`"),
        (ROW + 'rules = ["no", "reads"]', "expected the rules `no`, `reads`, got `no`"),
        (
            ROW.replace('["pii"]', "[]").replace("deny", "permit") + "terms = { limit_rows = 9 }",
            "expected the terms limit_rows 9, got limit_rows 10",
        ),
    ],
)
def test_a_case_that_ends_otherwise_says_how(row: str, difference: str) -> None:
    assert run_table(ENGINE, row) == [CaseResult("t", (difference,))]


def test_a_denial_by_an_error_does_not_pass_for_an_expected_denial() -> None:
    text = ROW.replace('"read"', '"call"').replace('{ column = "shop.s.t.c", tags = ["pii"] }', '{ tool = "query" }')
    (result,) = run_table(ENGINE, text)
    assert not result.passed
    assert result.differences[0].startswith("it could not be decided: error while evaluating policy `broken`")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[case]", "it is no TOML"),
        ("", "there is no `[[case]]` in it"),
        ("case = 3", "there is no `[[case]]` in it"),
        ("case = [3]", "there is no `[[case]]` in it"),
        ("extra = 1\n" + ROW, "unknown key `extra`"),
        (ROW + 'rule = ["no"]', "case 1: unknown key `rule`"),
        (ROW + ROW.replace("title", "titel"), "case 2: unknown key `titel`"),
        (ROW.replace('title = "t"', ""), "case 1: `title` is missing"),
        (ROW.replace('"t"', "3"), "case 1: `title` has a value of the wrong type"),
        (ROW.replace('["r"]', "[1]"), "case 1: `roles` is a list of strings"),
        (ROW.replace('"read"', '"reed"'), "case 1: unknown action `reed`"),
        (ROW.replace('"deny"', '"denied"'), "case 1: `expected` is `permit` or `deny`, not `denied`"),
        (ROW.replace("column", "colum"), "case 1, resource: it names exactly one of"),
        (ROW.replace("shop.s.t.c", "s.t.c"), "case 1, resource: the id of a Column is `datasource.schema.table.column`"),
        (ROW.replace('"pii"', '"pi"'), "case 1, resource: unknown tag `pi`"),
        (ROW.replace("tags", "tag"), "case 1, resource: unknown key `tag`"),
        (ROW.replace("tags =", "volatility ="), "case 1, resource: unknown key `volatility`"),
        (ROW + "terms = { limit_rows = true }", "case 1, terms: `limit_rows` has a value of the wrong type"),
        (ROW + "terms = { rows = 1 }", "case 1, terms: unknown key `rows`"),
    ],
)
def test_a_table_that_cannot_be_read_as_it_stands_is_an_error(text: str, said: str) -> None:
    with pytest.raises(TableError) as caught:
        run_table(ENGINE, text)
    assert str(caught.value).startswith(said)
