"""Signed notes as whoever can write to an anchor file may have left them."""

import pytest

from ostiary.audit.notes import BEGINNING, Unreadable, parse_epoch, parse_note

SIGNATURE = "— ostiary " + "A" * 91 + "="
ROOT = "A" * 43 + "="


def note(*lines: str) -> str:
    return "\n".join((*lines, "", SIGNATURE, ""))


@pytest.mark.parametrize(
    "text",
    [
        "",
        note("ostiary/x/0", "1" * 5_000, ROOT),
        note("ostiary/x/0", "-1", ROOT),
        note("ostiary/x/0", "1", "A"),
        note("ostiary/x/0", "1"),
        note("ostiary/x/0", "1", ROOT).replace("— ", "- "),
    ],
)
def test_what_is_no_note_cannot_be_read(text: str):
    with pytest.raises(Unreadable):
        parse_note(text)


@pytest.mark.parametrize(
    "lines",
    [("end 0 6",), ("end 0 6 ! 14 -",), ("end x 6 - 14 -",), ("why {",), ("why 3",), ("end 0 6 - 14 -", 'why {"person": "olga"}')],
)
def test_a_note_of_an_epoch_that_is_not_what_it_says_cannot_be_read(lines: tuple[str, ...]):
    with pytest.raises(Unreadable):
        parse_epoch(note("ostiary/x/epochs", "1", ROOT, *lines))


def test_a_number_too_long_for_a_stream_is_none():
    assert parse_note(note(f"ostiary/x/{'9' * 5_000}", "1", ROOT)).stream is None


def test_a_stream_of_before_any_epoch_is_covered_by_none():
    assert (BEGINNING.first, BEGINNING.covers(0, 1), BEGINNING.covers(0, 0)) == (0, False, True)
