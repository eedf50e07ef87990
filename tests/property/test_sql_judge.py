"""Judging is total and its print is a fixed point, whatever the text."""

from contextlib import suppress

from fix_sql import cases, shop_snapshot, view_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pglast.parser import ParseError, scan

from ostiary_tools.errors import Refused
from ostiary_tools.sql import Judged, judge
from ostiary_tools.sql.parse import _chain

VIEW = view_of(shop_snapshot())
KNOWN = [case.sql for folder in ("refuse", "honest") for case in cases(folder)]
WORDS = sorted({word for text in KNOWN for word in text.split()})
REFUSED = [case.sql for case in cases("refuse") if case.rule != "one_statement"]


def judged_or_refused(text: str) -> Judged | None:
    try:
        return judge(text, VIEW)
    except Refused:
        return None


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_is_judged_or_refused(text: str):
    judged_or_refused(text)


@given(st.lists(st.sampled_from(WORDS), max_size=25))
@settings(max_examples=500, deadline=None)
def test_any_words_of_sql_are_judged_or_refused_and_the_print_is_a_fixed_point(words: list[str]):
    judged = judged_or_refused("select " + " ".join(words))
    assert judged is None or judge(judged.statement.text, VIEW) == judged


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=500, deadline=None)
def test_any_splice_of_two_statements_is_judged_or_refused_and_the_print_is_a_fixed_point(
    one: str, other: str, cut: int, join: int
):
    judged = judged_or_refused(one[:cut] + other[join:])
    assert judged is None or judge(judged.statement.text, VIEW) == judged


@given(
    st.sampled_from(REFUSED),
    st.sampled_from(
        [
            "select ({})",
            "select * from ({}) as x",
            "with x as ({}) select 1",
            "select 1 where exists ({})",
            "{} union all {}",
            "select array({})",
        ]
    ),
)
@settings(max_examples=300, deadline=None)
def test_what_is_refused_alone_is_refused_inside_anything(inner: str, outer: str):
    assert judged_or_refused(outer.replace("{}", inner)) is None


@given(
    st.one_of(
        st.sampled_from(KNOWN), st.lists(st.sampled_from([*"()[].,+- a1$", "union", "case", "join", "with", "::"])).map(" ".join)
    )
)
@settings(max_examples=500, deadline=None)
def test_no_text_is_deeper_than_it_is_long(text: str):
    """So a short one need not be scanned before it is parsed."""
    with suppress(ParseError):
        assert _chain(scan(text)) <= len(text) + 2
