"""Work that is done ahead of whoever takes it: in order, no further than was asked for, and none of it after an end."""

import threading
from contextlib import closing

import pytest

from ostiary_tools.backup.together import ahead


@pytest.mark.parametrize("by", [0, 1, 3, 20])
def test_it_is_given_in_order(by: int):
    assert list(ahead(str, range(10), by=by)) == [str(n) for n in range(10)]
    assert list(ahead(str, (), by=by)) == []


def test_no_more_is_begun_than_was_asked_for():
    rest = iter(range(10))
    with closing(ahead(str, rest, by=2)) as given:
        assert next(given) == "0"
        assert next(rest) == 3, "1 and 2 are begun"


def test_the_others_are_worked_out_while_one_is_looked_at():
    meeting = threading.Barrier(2)
    with closing(ahead(lambda number: number and meeting.wait(30), range(2), by=1)) as given:
        assert next(given) == 0
        meeting.wait(30)  # which nobody would come to, were the second one begun only when it is asked for
        next(given)


def test_an_error_comes_in_the_place_of_what_it_is_about():
    with closing(ahead(lambda number: 1 // number, [1, 1, 0, 1], by=3)) as given:
        assert [next(given), next(given)] == [1, 1]
        with pytest.raises(ZeroDivisionError):
            next(given)
