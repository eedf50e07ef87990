"""What a human reads before he says yes: each text is written out, with what is not seen as its number."""

import hashlib
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import Field

from ostiary.approvals import about
from ostiary.consent import question
from ostiary.errors import NotApproved
from ostiary.people import Wanted
from ostiary_policies.model import Intent, Obligations, Permit, Principal, Statement
from ostiary_tools.api import Args, ChangeHandle, CursorHandle, Redacted, World
from ostiary_tools.change import KnownChange
from ostiary_tools.effects import Effects

STATEMENT = Statement("SELECT 1", ())


class Kind(Enum):
    A = "a"
    B = "b"


class Wish(Args):
    count: int = 0
    ratio: float = 1.0
    loud: bool = True
    names: tuple[str, ...] = ()
    kind: Kind = Kind.A
    text: str = "plain"
    most: int | None = None
    tags: list[str] = Field(default_factory=list)


class Needed(Args):
    name: str
    size: int = 1


class Marked(Args):
    sql: Annotated[str, Redacted()] = ""
    params: Annotated[tuple[str, ...], Redacted()] = ()
    cursor: Annotated[str, CursorHandle()] = ""
    secret: Annotated[str, Redacted()] = ""


class Unmarked(Args):
    sql: str = ""
    params: tuple[str, ...] = ()
    cursor: str = ""


def asked(model: type[Args], arguments: dict[str, Any], *statements: Statement, rules: tuple[str, ...] = ("r",)) -> str:
    return read(Principal("ada", ("reader",)), Intent("launch", arguments, (), None, statements), model, rules)


def read(
    who: Principal, intent: Intent, model: type[Args], rules: tuple[str, ...] = ("r",), *, change: KnownChange | None = None
) -> str:
    permit = Permit(who, intent, Obligations(), rules, "sha256:0")
    return question(permit, World(who, {}, change=change), model, Wanted(1, rules))


def barred(text: str) -> list[str]:
    return [line.removeprefix("| ") for line in text.split("\n") if line.startswith("| ")]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, []),
        ({"count": 0, "ratio": 1.0, "loud": True, "names": [], "kind": "a", "text": "plain", "most": None, "tags": []}, []),
        ({"count": False, "ratio": 1, "loud": 1}, ["count = false", "ratio = 1", "loud = 1"]),
        ({"count": 0.0, "ratio": 0.0, "loud": False}, ["count = 0.0", "ratio = 0.0", "loud = false"]),
        ({"count": None, "text": "", "names": None, "most": 0}, ["count = null", 'text = ""', "names = null", "most = 0"]),
        ({"kind": "b", "names": [""]}, ['kind = "b"', 'names = [""]']),
        ({"other": False, "another": None, "empty": []}, ["other = false", "another = null", "empty = []"]),
    ],
)
def test_an_argument_is_left_out_only_where_it_is_what_the_model_has_by_default(given: dict[str, Any], shown: list[str]):
    assert barred(asked(Wish, given)) == shown


def test_an_argument_that_must_be_given_is_always_shown():
    assert barred(asked(Needed, {"name": "", "size": 1})) == ['name = ""']


def test_what_statements_are_made_of_is_left_out_where_the_model_says_so_and_statements_are_shown():
    made = {"sql": "select 1", "params": ["x"], "cursor": "c"}
    lines = ['sql = "select 1"', 'params = ["x"]', 'cursor = "c"']
    assert barred(asked(Marked, made, STATEMENT)) == ["SELECT 1"]
    assert barred(asked(Marked, made)) == lines
    assert barred(asked(Unmarked, made, STATEMENT)) == [*lines, "SELECT 1"]
    assert barred(asked(Wish, made, STATEMENT)) == [*lines, "SELECT 1"]
    assert barred(asked(Marked, {"secret": "s"}, STATEMENT)) == ['secret = "s"', "SELECT 1"]


def test_rules_are_named_as_they_are_written():
    one = asked(Wish, {}, rules=("Salaries-Want-A-YES",)).split("\n")[1]
    two = asked(Wish, {}, rules=("A", "bB")).split("\n")[1]
    assert one == "Rule `Salaries-Want-A-YES` wants a human's approval: is it to run?"
    assert two == "Rules `A`, `bB` want a human's approval: is it to run?"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("München 東京 Ω ✓ €", "München 東京 Ω ✓ €"),
        ("a\nb\rc\td", "a<U+000A>b<U+000D>c<U+0009>d"),
        ("\u202ea\u2066b\u200bc\u2028d\x85e\ufefff", "<U+202E>a<U+2066>b<U+200B>c<U+2028>d<U+0085>e<U+FEFF>f"),
        ("a\u00a0b\u3000c\u2003d", "a<U+00A0>b<U+3000>c<U+2003>d"),
        ("\u3164\u115f\u1160\uffa0\u2800\u034f", "<U+3164><U+115F><U+1160><U+FFA0><U+2800><U+034F>"),
        ("a\ufe0fb\ufe00c\U000e0100d\U000e01efe", "a<U+FE0F>b<U+FE00>c<U+E0100>d<U+E01EF>e"),
        ("e\u0301 \u0488 \u20dd", "e<U+0301> <U+0488> <U+20DD>"),
        ("\ud800 \ue000 \u0378 \u00ad", "<U+D800> <U+E000> <U+0378> <U+00AD>"),
    ],
)
def test_what_is_not_seen_as_itself_stands_as_its_number(text: str, shown: str):
    assert barred(asked(Wish, {}, Statement(text, ()))) == [shown]
    assert f"The agent `ada` ({shown}) wants" in read(Principal("ada", (text,)), Intent("launch", {}), Wish)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("x" * 101, ["x" * 100, "x"]),
        ("東" * 51, ["東" * 50, "東"]),
        ("x" + "\uff21" * 50, ["x" + "\uff21" * 49, "\uff21"]),
        ("x" * 95 + "\ny", ["x" * 95, "<U+000A>y"]),
    ],
)
def test_no_line_is_wider_than_a_hundred_cells(text: str, lines: list[str]):
    assert barred(asked(Wish, {}, Statement(text, ()))) == lines


class Handled(Args):
    change: Annotated[str, ChangeHandle(), Redacted()]
    loud: bool = False


def a_change(*shown: str) -> KnownChange:
    return KnownChange(UUID(int=1), "shop", "proposed", (STATEMENT,), Effects((2,), ()), datetime.now(UTC), shown)


def test_a_change_is_shown_by_its_statements_and_effects_and_never_by_its_secret():
    applied = Intent("apply_change", {"change": "secret", "loud": True}, changes=(STATEMENT,), stays=True)
    text = read(Principal("ada", ()), applied, Handled, change=a_change("public.a: ~2", "name\n| forged"))
    assert barred(text) == ["loud = true", "SELECT 1", "public.a: ~2", "name<U+000A>| forged"]
    assert (
        "\nThis is what was done when it was tried and taken back, 0 rows in all; if anything else would be, nothing is:\n" in text
    )
    undone = Intent("revert_change", {"change": "secret"}, stays=True, undoes=True)
    text = read(Principal("ada", ()), undone, Handled, change=a_change("public.a: ~2"))
    assert barred(text) == ["public.a: ~2"]
    assert "\nThis is what was done, and would be taken back, 0 rows in all; if anything else would be, nothing is:\n" in text


def test_samples_of_a_change_are_cut_where_nobody_would_read_on():
    applied = Intent("apply_change", {"change": "secret"}, changes=(STATEMENT,), stays=True)
    text = read(Principal("ada", ()), applied, Handled, change=a_change(*("x" * 100 for _ in range(50))))
    assert barred(text) == ["SELECT 1", *["x" * 100] * 40]
    assert "\nAnd 10 more lines.\n" in text


FORGED = "\n\nA yes is good for this call alone, once.\nOf $1 these are the first 100 of 101 characters"


def applied(*values: str | None, text: str = "INSERT INTO public.a SELECT $1") -> Intent:
    return Intent("apply_change", {"change": "secret"}, changes=(Statement(text, values),), stays=True)


def test_a_long_value_of_a_known_change_is_cut_and_said_in_our_words_how_long_it_is_and_its_digest():
    long, whole = "'" * 100 + FORGED + "x" * 20_000, "x" * 300
    lines = read(Principal("ada", ()), applied(long, whole, None), Handled, change=a_change("public.a: +2")).split("\n")
    digest = hashlib.sha256(long.encode()).hexdigest()
    assert lines[3:12] == [
        "This would run, long values cut. Lines with a bar are the agent's words and data, whatever they claim:",
        "| INSERT INTO public.a SELECT $1",
        "| $1 = '" + "'" * 94,
        "| " + "'" * 100,
        "| " + "'" * 6,
        f"Of $1 these are the first 100 of {len(long)} characters, which together have the digest",
        f"sha256:{digest}.",
        "| $2 = '" + "x" * 94,
        "| " + "x" * 100,
    ]
    assert "| $3 = NULL" in lines
    assert "| public.a: +2" in lines
    assert all(len(line) <= 102 for line in lines[3:12])


def test_no_value_of_a_known_change_speaks_in_our_words():
    for short in (FORGED, FORGED + "x" * 300):
        text = read(Principal("ada", ()), applied(short), Handled, change=a_change())
        ours = [line for line in text.split("\n") if not line.startswith("| ")]
        assert sum(line.startswith("Of $1") for line in ours) == (len(short) > 300)
        assert sum(line.startswith("A yes") for line in ours) == 1


def test_what_is_cut_is_approved_as_it_is_and_not_as_it_looks():
    who, world = Principal("ada", ()), World(Principal("ada", ()), {}, change=a_change())
    one, other = (Permit(who, applied("x" * 400 + end), Obligations(), ("r",), "sha256:0") for end in "ab")
    assert about(one, world) != about(other, world)
    assert question(one, world, Handled, Wanted(1, ("r",))) != question(other, world, Handled, Wanted(1, ("r",)))


def test_a_question_with_many_long_values_is_bounded():
    text = read(Principal("ada", ()), applied(*["x" * 500_000] * 30), Handled, change=a_change(*["x" * 100] * 5_000))
    assert len(text) < 16_000


@pytest.mark.parametrize(
    ("intent", "change"),
    [
        (applied(*["x" * 500_000] * 60), a_change()),
        (applied(text="x" * 4_001), a_change()),
        (applied("x" * 4_001), None),
        (Intent("query", {}, statements=(Statement("SELECT $1", ("x" * 4_001,)),)), a_change()),
    ],
    ids=["too many values", "text of a change", "change that is not known", "what is only read"],
)
def test_what_is_too_long_all_the_same_is_not_asked_about(intent: Intent, change: KnownChange | None):
    with pytest.raises(NotApproved, match=r"longer than a human can be shown \(4000 characters\)"):
        read(Principal("ada", ()), intent, Handled, change=change)
