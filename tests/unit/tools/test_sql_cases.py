"""The cases of tests/cases/sql: what must be refused, and what no honest analyst may be refused."""

import pytest
from fix_sql import Case, cases, shop_snapshot, view_of

from ostiary_tools.errors import Refused
from ostiary_tools.sql import judge

VIEW = view_of(shop_snapshot())
REFUSED = tuple(cases("refuse"))
HONEST = tuple(cases("honest"))


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.title)
def test_an_attack_is_refused_under_its_rule(case: Case):
    with pytest.raises(Refused) as refusal:
        judge(case.sql, VIEW)
    assert refusal.value.rule == case.rule


@pytest.mark.parametrize("case", HONEST, ids=lambda c: c.title)
def test_an_honest_statement_passes_and_its_print_is_judged_the_same(case: Case):
    judged = judge(case.sql, VIEW)
    assert judge(judged.statement.text, VIEW) == judged


def test_there_are_as_many_cases_as_promised():
    assert len(REFUSED) >= 160
    assert len(HONEST) >= 150
