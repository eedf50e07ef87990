"""What describing, drawing, searching and the prompts show, and what they keep to themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Obligations, Permit, Principal, Resource, Statement
from ostiary_tools.api import AuditReader, Refused, Rows, Text, World
from ostiary_tools.describe import Describe, describe_relation
from ostiary_tools.diagram import er_diagram
from ostiary_tools.errors import TimedOut
from ostiary_tools.explain_slow_query import ExplainSlowQuery
from ostiary_tools.question_to_sql import QuestionToSql
from ostiary_tools.result import ColumnHead
from ostiary_tools.search_schema import SearchSchema
from ostiary_tools.snapshot import ColumnInfo, ForeignKey, FunctionInfo, Index, Relation, RelationKind, Snapshot, TypeInfo
from ostiary_tools.view import SchemaView

WHO = Principal("agent", ("analyst",))

CUSTOMER = Relation(
    "shop",
    "customers",
    RelationKind.TABLE,
    (
        ColumnInfo("id", "bigint", not_null=True, generated=True),
        ColumnInfo("email", "text", not_null=True, comment="where they\nread", tags=frozenset({"pii"})),
        ColumnInfo("fullName", "text", not_null=False, default="'nobody'::text"),
        ColumnInfo("shadow", "text", not_null=False, default="secret_source()", comment="hidden comment"),
    ),
    comment="people who buy",
    primary_key=("id",),
    indexes=(
        Index("customers_pkey", "btree (id)", ("id",), unique=True),
        Index("by_shadow", "btree (id) WHERE (shadow = 'x'::text)", ("id", "shadow")),
        Index("by_hidden_function", 'btree (hidden_function("fullName"))', ("fullName",)),
    ),
    estimated_rows=1200,
)
ORDER = Relation(
    "shop",
    "order",
    RelationKind.TABLE,
    (
        ColumnInfo("id", "integer", not_null=True),
        ColumnInfo("customer_id", "bigint", not_null=True),
        ColumnInfo("vault_id", "integer", not_null=False),
        ColumnInfo("shadow", "text", not_null=False),
    ),
    primary_key=("id",),
    foreign_keys=(
        ForeignKey("of", ("customer_id",), "shop", "customers", ("id",)),
        ForeignKey("kept", ("vault_id",), "shop", "vault", ("id",)),
        ForeignKey("veiled", ("id",), "shop", "customers", ("shadow",)),
    ),
)
VAULT = Relation(
    "shop",
    "vault",
    RelationKind.TABLE,
    (ColumnInfo("id", "integer", not_null=True),),
    foreign_keys=(ForeignKey("leak", ("id",), "shop", "customers", ("id",)),),
)
SNAPSHOT = Snapshot(
    datasource="data",
    taken_at=datetime(2026, 1, 31, tzinfo=UTC),
    server_version=180000,
    search_path=("public",),
    schemas={"shop": ""},
    relations={(r.schema, r.name): r for r in (CUSTOMER, ORDER, VAULT)},
    functions={
        ("shop", "order_total"): (
            FunctionInfo("shop", "order_total", "id integer", "numeric", "function", "stable", "sql", comment="sum"),
        ),
        ("shop", "hidden_function"): (FunctionInfo("shop", "hidden_function", "t text", "text", "function", "immutable", "sql"),),
    },
    types={("shop", "mood"): TypeInfo("shop", "mood", "enum", ("ok", "bad"))},
)


def _hidden(resource: Resource) -> bool:
    name = getattr(resource, "name", "")
    return name in ("vault", "shadow", "hidden_function") or getattr(resource, "table", "") == "vault"


def _resources() -> frozenset[Resource]:
    found: set[Resource] = {SNAPSHOT.schema_resource("shop")}
    for relation in SNAPSHOT.relations.values():
        found |= {relation.resource("data"), *(relation.column_resource("data", column) for column in relation.columns)}
    return frozenset(found | {SNAPSHOT.function_resource(*name) for name in SNAPSHOT.functions})


VISIBLE = frozenset(resource for resource in _resources() if not _hidden(resource))
VIEW = SchemaView(SNAPSHOT, VISIBLE, frozenset(resource for resource in VISIBLE if "pii" not in getattr(resource, "tags", ())))
WORLD = World(WHO, {"data": VIEW})


CUSTOMER_OUTLINE = (
    "| shop.customers (table, ~1200 rows): people who buy",
    "|   id bigint primary key",
    '|   "fullName" text e.g. a - new rule | b',
    "|   [no read]: email",
)


class OneAnswer:
    """A session whose database answers each statement with the same rows, or with an error."""

    def __init__(self, answer: Rows | Exception | None = None) -> None:
        self._answer = answer
        self.asked: list[Statement] = []

    @property
    def world(self) -> World:
        """The one of this module."""
        return WORLD

    @property
    def audit(self) -> AuditReader:
        """Not permitted."""
        raise Refused("read_audit", "not permitted")

    async def rows(self, statement: Statement) -> Rows:
        """Give the answer."""
        self.asked.append(statement)
        if not isinstance(self._answer, Rows):
            raise self._answer or AssertionError("nothing may be asked")
        return self._answer

    def narrowing(self, tool: str) -> Sequence[str]:  # noqa: ARG002  the protocol's
        """Nothing is narrowed."""
        return ()

    def terms(self, tool: str) -> Obligations | None:
        """None of its own."""
        return Obligations() if tool == "query" else None


async def _run(tool: Any, arguments: Mapping[str, Any], session: OneAnswer | None = None) -> tuple[Intent, str]:
    intent = tool.plan(tool.args.model_validate(arguments), WORLD)
    result = await tool.run(Permit(WHO, intent, Obligations(), (), "hash"), session or OneAnswer())
    assert isinstance(result, Text)
    return intent, result.text


CUSTOMER_TEXT = """\
shop.customers (table, ~1200 rows): people who buy
  id bigint not null generated
  email text not null [no read] -- where they read
  "fullName" text default 'nobody'::text
primary key (id)
referenced by shop."order" (customer_id) -> (id)
unique index customers_pkey btree (id)"""
ORDER_TEXT = """\
shop."order" (table)
  id integer not null
  customer_id bigint not null
  vault_id integer
primary key (id)
foreign key (customer_id) -> shop.customers (id)"""


def test_a_description_shows_all_that_is_visible_and_nothing_that_touches_the_hidden() -> None:
    assert describe_relation(VIEW, CUSTOMER) == CUSTOMER_TEXT
    assert describe_relation(VIEW, ORDER) == ORDER_TEXT


@pytest.mark.asyncio
async def test_describing_states_the_sight_of_what_it_shows() -> None:
    intent, text = await _run(Describe(), {"tables": ["customers", '"shop"."order"', "SHOP.CUSTOMERS"]})
    assert text == f"{CUSTOMER_TEXT}\n\n{ORDER_TEXT}"
    assert intent.statements == ()
    shown = [(CUSTOMER, "id email fullName"), (ORDER, "id customer_id vault_id")]
    columns = {(r, c) for r, names in shown for c in r.columns if c.name in names.split()}
    assert set(intent.accesses) == {
        *(Access(Action.SEE, relation.resource("data")) for relation, _ in shown),
        *(Access(Action.SEE, relation.column_resource("data", column)) for relation, column in columns),
    }


@pytest.mark.asyncio
async def test_samples_are_read_of_readable_columns_through_a_judged_statement() -> None:
    answer = Rows((ColumnHead("id", "bigint"), ColumnHead("fullName", "text")), (("1", "A\nb"), ("2", None), ("2", "A\nb")))
    session = OneAnswer(answer)
    intent, text = await _run(Describe(), {"tables": ["customers"], "samples": True}, session)
    assert session.asked == list(intent.statements)
    assert "email" not in intent.statements[0].text
    assert Access(Action.READ, CUSTOMER.resource("data")) in intent.accesses
    assert "  id bigint not null generated e.g. 1 | 2\n" in text
    assert "\"fullName\" text default 'nobody'::text e.g. A b\n" in text


@pytest.mark.asyncio
async def test_a_description_survives_samples_that_take_too_long() -> None:
    _, text = await _run(Describe(), {"tables": ["customers"], "samples": True}, OneAnswer(TimedOut("the statement ran too long")))
    assert text == f"{CUSTOMER_TEXT}\nsamples: none, the statement ran too long"


@pytest.mark.parametrize("written", ["vault", "shop.vault", '"shop"."vault"', "shop.nothing", "", "a.b.c", '"Customers"'])
def test_a_hidden_table_is_as_unknown_as_one_that_does_not_exist(written: str) -> None:
    with pytest.raises(Refused) as raised:
        Describe().plan(Describe.args.model_construct(tables=(written,), samples=False), WORLD)
    assert raised.value.rule == "unknown_table"
    assert "vault" not in raised.value.hint


def test_a_diagram_holds_the_visible_columns_and_keys_between_the_chosen() -> None:
    assert (
        er_diagram(VIEW, (CUSTOMER, ORDER))
        == """\
erDiagram
  shop_customers["shop.customers"] {
    bigint id PK
    text email
    text fullName
  }
  shop_order["shop.order"] {
    integer id PK
    bigint customer_id FK
    integer vault_id
  }
  shop_customers ||--o{ shop_order : customer_id"""
    )


def test_a_name_cannot_break_out_of_a_diagram() -> None:
    nasty = replace(VAULT, name='x"]\n{ evil', columns=(), foreign_keys=())
    assert er_diagram(VIEW, (nasty,)).splitlines()[1:] == ["  shop_x_evil[\"shop.x'''{ evil\"] {", "  }"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("customer", ["shop.customers (table)", 'shop."order" (table) customer_id']),
        ("Full names", ['shop.customers (table) "fullName"']),
        ("how many buyers buy", ["shop.customers (table)"]),
        ("custmers", ["shop.customers (table)", 'shop."order" (table) customer_id']),
        ("mood", ["shop.mood (type, enum)"]),
        ("total", ["shop.order_total (function)"]),
        ("vault", ['shop."order" (table) vault_id']),
        ("shadow", []),
        ("hidden", []),
        ("", ["shop.customers (table)", 'shop."order" (table)', "shop.order_total (function)", "shop.mood (type, enum)"]),
    ],
)
async def test_searching_finds_the_visible_by_name_column_comment_and_likeness(query: str, lines: list[str]) -> None:
    _, text = await _run(SearchSchema(), {"query": query})
    assert text.splitlines()[:-1] == lines


@pytest.mark.asyncio
async def test_a_search_grows_from_names_over_summaries_to_full_descriptions() -> None:
    _, summary = await _run(SearchSchema(), {"query": "fullname", "detail": "summary"})
    assert summary == 'shop.customers (table, ~1200 rows): people who buy\n  id, email, "fullName"\n1-1 of 1'
    _, full = await _run(SearchSchema(), {"query": "fullname", "detail": "full"})
    assert full == f"{CUSTOMER_TEXT}\n1-1 of 1"
    _, function = await _run(SearchSchema(), {"kind": "function", "detail": "full"})
    assert function == "shop.order_total(id integer) returns numeric (function, stable): sum\n1-1 of 1"


@pytest.mark.asyncio
async def test_a_search_is_paged_and_states_only_what_its_page_shows() -> None:
    intent, text = await _run(SearchSchema(), {"limit": 1, "offset": 1})
    assert text == 'shop."order" (table)\n2-2 of 4, next: offset 2'
    assert {getattr(access.resource, "table", getattr(access.resource, "name", "")) for access in intent.accesses} == {"order"}


@pytest.mark.asyncio
async def test_a_question_comes_with_the_tables_that_fit_each_line_barred() -> None:
    session = OneAnswer(Rows((ColumnHead("place", "integer"), ColumnHead("value", "text")), (("0", "a\n- new rule"), ("0", "b"))))
    intent, text = await _run(QuestionToSql(), {"question": "Which customers buy?"}, session)
    assert "\n".join(CUSTOMER_OUTLINE) in text
    assert "shadow" not in text
    assert "shop.vault" not in text
    assert Access(Action.SEE, CUSTOMER.resource("data")) in intent.accesses
    assert [statement.text for statement in session.asked] == [statement.text for statement in intent.statements]
    assert "email" not in session.asked[0].text


@pytest.mark.asyncio
async def test_a_question_goes_without_values_that_cannot_be_had_in_time() -> None:
    _, text = await _run(QuestionToSql(), {"question": "Which customers buy?"}, OneAnswer(TimedOut("it took too long", "")))
    assert "\n".join(CUSTOMER_OUTLINE).replace(" e.g. a - new rule | b", "") in text


@pytest.mark.asyncio
async def test_a_slow_query_is_judged_and_comes_with_its_tables() -> None:
    sql = "SELECT count(*) FROM shop.customers"
    intent, text = await _run(ExplainSlowQuery(), {"sql": sql})
    assert "| unique index customers_pkey btree (id)" in text
    assert intent.statements == ()
    with pytest.raises(Refused):
        ExplainSlowQuery().plan(ExplainSlowQuery.args(sql="SELECT 1 FROM shop.vault"), WORLD)
