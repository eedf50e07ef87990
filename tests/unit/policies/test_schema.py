"""The Cedar schema, the vocabulary of actions and the model's resources say the same."""

import re
from dataclasses import fields
from importlib.resources import files

import pytest

from ostiary_policies.actions import Action
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.entities import RESOURCES
from ostiary_policies.model import (
    Access,
    AuditLog,
    Backup,
    Collection,
    Column,
    Datasource,
    Function,
    Principal,
    Resource,
    Schema,
    Table,
    Tool,
)

APPLIES: dict[Action, set[type[Resource]]] = {
    Action.CALL: {Tool},
    Action.SEE: {Datasource, Schema, Table, Column, Function},
    Action.READ: {Table, Column},
    Action.READ_MASKED: {Column},
    Action.INSERT: {Table, Column},
    Action.UPDATE: {Table, Column},
    Action.DELETE: {Table},
    Action.DEFINE: {Schema, Table},
    Action.EXECUTE: {Function},
    Action.SEARCH: {Collection},
    Action.INDEX: {Collection},
    Action.MANAGE: {Collection},
    Action.DROP: {Collection},
    Action.BACK_UP: {Backup},
    Action.VERIFY: {Backup},
    Action.RESTORE: {Backup},
    Action.READ_AUDIT: {AuditLog},
}
EXAMPLES: tuple[Resource, ...] = (
    Tool("query"),
    Datasource("shop"),
    Schema("shop", "public"),
    Table("shop", "public", "customers", frozenset({"pii"})),
    Column("shop", "public", "customers", "email", frozenset({"pii"}), frozenset({"secret"})),
    Function("shop", "public", "f", "stable", security_definer=True, extension="hstore", owner="app", language="c"),
    Collection("notes", "local", "shop", frozenset({"pii"})),
    Backup("shop", "full"),
    AuditLog(),
)
TEXT = files("ostiary_policies").joinpath("schema.cedarschema").read_text("utf-8")


def test_the_schema_has_exactly_the_actions_of_the_vocabulary() -> None:
    assert re.findall(r'^action "(\w+)"', TEXT, re.MULTILINE) == [action.value for action in Action]


def test_the_schema_has_exactly_the_resources_of_the_model_and_the_two_kinds_of_principal() -> None:
    entities = set(re.findall(r"^entity (\w+)", TEXT, re.MULTILINE))
    assert entities == {"Role", "Agent", *(kind.__name__ for kind in RESOURCES)}


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_attributes_of_an_entity_are_the_fields_of_the_model(kind: type[Resource]) -> None:
    body = re.search(rf"^entity {kind.__name__}\b[^;]*", TEXT, re.MULTILINE)
    assert body
    assert re.findall(r"^  (\w+): ", body[0], re.MULTILINE) == [field.name for field in fields(kind)]


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("resource", EXAMPLES, ids=lambda resource: type(resource).__name__)
def test_an_action_applies_to_its_resources_and_to_no_others(action: Action, resource: Resource) -> None:
    engine = Engine(PolicySet.parse({"all.cedar": '@id("all") permit(principal in Role::"r", action, resource);'}))
    verdict = engine.allows(Principal("a", ("r",)), Access(action, resource))
    assert verdict.allowed is (type(resource) in APPLIES[action])
    assert bool(verdict.errors) is not verdict.allowed
