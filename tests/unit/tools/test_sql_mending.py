"""Places of the printed text found again in the caller's."""

from dataclasses import replace

import pytest
from fix_sql import shop_snapshot, view_of

from ostiary_tools.errors import DatabaseError
from ostiary_tools.sql.mending import mended

VIEW = view_of(shop_snapshot())


def _where(printed: str, marked: str, written: str) -> str:
    """The words in brackets of an error at the first `marked` in the printed text."""
    error = DatabaseError("42000", "no", offset=printed.index(marked))
    return mended(error, printed, written, VIEW).message.removeprefix("no").strip(" ()")


@pytest.mark.parametrize(
    ("printed", "marked", "written", "place"),
    [
        (
            "SELECT pg_catalog.lower(id) FROM public.orders",
            "pg_catalog",
            "select lower(id)\nfrom orders",
            "line 1, column 8, at `lower`",
        ),
        ("SELECT id FROM public.orders", "public", "select id\n from orders", "line 2, column 7, at `orders`"),
        ("SELECT a, b, a + a FROM t", "+", "select a, b,\n a + a from t", "line 2, column 4, at `+`"),
        ("SELECT 'Ω', a = b", "=", "select 'Ω', a = b", "line 1, column 15, at `=`"),
        ("SELECT x.a = 1, y.a = 2", "= 2", "select x.a = 1, y.a = 2", "line 1, column 21, at `=`"),
        ("SELECT a, a, a", "a, a, a", "select a, a, a", "line 1, column 8, at `a`"),
        ('SELECT "Weird"', '"Weird"', 'select "Weird"', 'line 1, column 8, at `"Weird"`'),
    ],
)
def test_a_place_in_the_print_is_told_as_one_in_the_callers_text(printed: str, marked: str, written: str, place: str):
    assert _where(printed, marked, written) == place


@pytest.mark.parametrize(
    ("printed", "marked", "written"),
    [
        ("SELECT added FROM t", "added", "select * from t"),
        ("SELECT a", "a", "select 'unterminated"),
        ("SELECT a" + " " * 30_000, "a", "select a"),
    ],
    ids=["what only the print says", "what cannot be read", "what is too long"],
)
def test_a_place_that_is_not_certain_is_dropped(printed: str, marked: str, written: str):
    assert _where(printed, marked, written) == ""


def test_without_the_callers_text_there_is_no_place():
    error = DatabaseError("42803", "aggregate functions are not allowed in WHERE", "", offset=7)
    told = mended(error, "SELECT a", None, VIEW)
    assert (told.message, told.hint) == (error.message, "filter groups in HAVING, or aggregate in a subselect")


def test_a_function_that_the_server_is_too_old_for_is_told_as_that():
    error = DatabaseError("42883", "function pg_catalog.uuidv7() does not exist", offset=7)
    told = mended(error, "SELECT pg_catalog.uuidv7()", "select uuidv7()", view_of(replace(shop_snapshot(), server_version=150018)))
    assert told.message == "function uuidv7() does not exist (line 1, column 8, at `uuidv7`)"
    assert told.hint == "this server is PostgreSQL 15, which has no `uuidv7`"


def test_a_function_of_the_house_that_is_hidden_shows_no_arguments():
    error = DatabaseError("42883", "function public.steal(integer) does not exist", "look")
    assert mended(error, "SELECT public.steal(1)", "select steal(1)", VIEW).hint == "look"


def test_a_statement_of_many_like_words_is_placed_without_comparing_each_with_each():
    printed = "SELECT " + ", ".join(["a = b"] * 2_000)
    assert _where(printed, "=", printed.replace("a", "b")) == ""
