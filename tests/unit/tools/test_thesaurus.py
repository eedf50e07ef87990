"""What the search by meaning knows of words: their forms, and the lists that say what they have to do with one another."""

import pytest

from ostiary_tools.meaning.endings import lines, root, stem
from ostiary_tools.meaning.thesaurus import has, like, terms, topics, units


def alike(word: str, other: str) -> float:
    """As much as the lists say."""
    ties = has(other)
    return max((likeness for tie, likeness in like(word).items() if tie in ties), default=0.0)


@pytest.mark.parametrize(
    "forms",
    ["pay paid paying payment", "hire hired hiring", "ship shipped shipment", "buy bought buyer", "carry carried", "tyre tire"],
)
def test_forms_of_a_word_have_one_stem(forms: str):
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize("pair", ["customer custom", "police polic", "number numb", "department depart", "former form", "red r"])
def test_a_word_that_only_looks_like_a_form_keeps_its_ending(pair: str):
    one, other = pair.split()
    assert root(stem(one)) != root(stem(other))


def test_words_are_alike_by_form_meaning_kind_and_subject_in_this_order():
    found = [alike("truck", other) for other in ("truck", "lorry", "vehicle", "ramp", "allergy")]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (1.0, 0.0)
    assert min(found[1:-1]) > 0.5


def test_a_phrase_is_one_term_beside_its_words_and_an_abbreviation_what_it_stands_for():
    assert [unit.term for unit in units("who took out a life insurance?")][-1] == "life insurance"
    assert terms("life_insurance")[:3] == ("life insurance", "life", "insurance")
    assert alike("customer", "cust") == 1.0
    assert {"account", "payable"} <= set(terms("ap"))


def test_a_word_belongs_less_to_each_subject_the_more_it_has():
    few, many = topics("waybill"), topics("order")
    assert len(few) < len(many)
    assert max(few.values()) > max(many.values())
    assert topics("xkqzwjv") == {}


@pytest.mark.parametrize("name", ["synonyms.txt", "kinds.txt", "topics.txt", "abbreviations.txt", "forms.txt"])
def test_a_list_is_written_as_it_is_read(name: str):
    for line in lines(name):
        assert line == line.lower().strip()
        members = line.rpartition(": ")[2].split(", ")
        assert all(members)
        assert len(set(members)) == len(members), line
