"""The shipped bundles against the decision tables in `tests/cases/policies`."""

from importlib.resources import files
from pathlib import Path

import pytest

from ostiary_policies.actions import Action
from ostiary_policies.cases import read_table, run_table
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine

BUNDLES = {path.name: path.read_text("utf-8") for path in files("ostiary_policies").joinpath("bundles").iterdir()}
TABLES = {path.stem: path.read_text("utf-8") for path in (Path(__file__).parents[2] / "cases" / "policies").glob("*.toml")}
ENGINE = Engine(PolicySet.parse(BUNDLES))


@pytest.mark.parametrize("table", sorted(TABLES))
def test_the_bundles_decide_as_their_table_says(table: str) -> None:
    assert [result for result in run_table(ENGINE, TABLES[table]) if not result.passed] == []


def test_every_policy_of_every_bundle_decides_a_case() -> None:
    decided = {rule for text in TABLES.values() for case in read_table(text) for rule in case.rules or ()}
    assert decided == set(ENGINE.policies.policies)


def test_every_action_is_permitted_and_denied_in_some_case() -> None:
    cases = [case for text in TABLES.values() for case in read_table(text)]
    every = {(action, allowed) for action in Action for allowed in (True, False)}
    # Nobody whom a shipped policy knows makes or drops things.
    assert {(case.access.action, case.allowed) for case in cases} == every - {(Action.DEFINE, True)}
    assert len(cases) >= 150


def test_each_bundle_is_valid_alone_and_speaks_of_its_own_role_only() -> None:
    for name, text in BUNDLES.items():
        policies = PolicySet.parse({name: text})
        role = name.removesuffix(".cedar")
        assert policies.roles == {role}
        assert policies.agents == frozenset()
        assert all(policy.startswith(f"{role}-") for policy in policies.policies)
        assert text.startswith(f"// {role}: ")
