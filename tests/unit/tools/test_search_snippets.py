"""What is shown of a text."""

from hypothesis import given
from hypothesis import strategies as st

from ostiary_tools.searching.snippets import snippet

TEXT = " ".join(["filler"] * 40 + ["the", "refund", "of", "an", "order"] + ["padding"] * 40)


def test_a_short_text_is_shown_whole_on_one_line():
    assert snippet("one\n\ttwo  three ", "two", 50) == "one two three"


def test_the_part_around_the_words_is_shown():
    shown = snippet(TEXT, "how are refunds of orders made", 100)
    assert "the refund of an order" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")


def test_most_different_words_count_and_not_the_same_word_again():
    text = " ".join(["apple apple apple"] + ["x"] * 100 + ["apple pear"] + ["x"] * 100)
    assert "pear" in snippet(text, "apple pear", 60)


def test_without_a_word_in_it_the_beginning_is_shown():
    assert snippet(TEXT, "nothing like it", 60).startswith("filler filler")
    assert snippet(TEXT, "", 60).startswith("filler filler")


@given(st.text(max_size=400), st.text(max_size=30), st.integers(50, 120))
def test_no_snippet_is_longer_than_asked_for(text: str, asked: str, length: int):
    shown = snippet(text, asked, length)
    assert len(shown) <= length
    assert shown.strip("…") in " ".join(text.split()) or len(text) > length
