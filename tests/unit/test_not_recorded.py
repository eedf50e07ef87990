"""What a caller is told when the audit log does not answer: whether something was run, and never the wrong thing."""

import pytest

from ostiary.errors import NotRecorded


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ("", "so nothing was run"),
        ("applying", "whether the change was applied is not known yet"),
        ("applied", "the change was applied, and the audit log"),
        ("reverting", "whether the change was undone is not known yet"),
        ("reverted", "the change was reverted, and the audit log"),
    ],
)
def test_what_may_have_been_committed_is_not_told_as_nothing_run(stands: str, said: str) -> None:
    told = NotRecorded(stands)
    assert said in told.message
    assert ("nothing was run" in told.message) == (told.again_in_s is not None) == (not stands)
