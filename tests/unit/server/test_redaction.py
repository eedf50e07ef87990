"""What of the arguments the audit log keeps."""

from typing import Annotated

import pytest

from ostiary.redaction import printable, redacted, unjudged
from ostiary_tools.api import Args, Redacted


class Sample(Args):
    name: str = "x"
    sql: Annotated[str, Redacted()] = ""
    params: Annotated[tuple[str, ...], Redacted()] = ()
    many: tuple[str, ...] = ()


def test_a_marked_field_is_kept_by_its_size_only():
    assert redacted(Sample(sql="select 'canary'", params=("canary",))) == {"sql": "<15 chars>", "params": "<1 items>"}


def test_an_argument_left_at_its_default_is_not_kept():
    assert redacted(Sample()) == {}


def test_a_long_text_is_kept_by_its_digest():
    kept = redacted(Sample(name="y" * 10_000))["name"]

    assert kept.startswith("<10000 chars sha256:")
    assert len(kept) < 60


def test_a_long_list_is_kept_in_part():
    assert len(redacted(Sample(many=("a",) * 10_000))["many"]) == 50


def test_arguments_no_model_accepted_are_kept_by_name_and_size():
    assert unjudged({"password": "canary", "n": 1}) == {"password": "<6 chars>", "n": "<int>"}


def test_ten_thousand_unknown_arguments_are_kept_in_part():
    kept = unjudged({f"k{i}": i for i in range(10_000)})

    assert len(kept) == 21
    assert kept["…"] == "9980 more"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_can_be_stored(text: str):
    printable(text).encode()


def test_nul_is_told_and_not_written():
    assert printable("a\0b") == r"a\x00b"
    assert redacted(Sample(many=("\0",)))["many"] == [r"\x00"]
