"""Rows as documents, which keys were seen, and how a collection may follow its rows."""

import random
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from ostiary_tools.errors import Refused
from ostiary_tools.indexing.rows import Rendering, Seen
from ostiary_tools.result import ColumnHead, Rows
from ostiary_tools.vectors.collection import Collection, Embedding, Source
from ostiary_tools.vectors.following import Every, Notify, followed


@dataclass
class Words:
    """An embedder of which only the words are asked for."""

    name: str = "words"
    model: str = "words 1"
    dimension: int = 2
    normalised: bool = False
    max_tokens: int = 64
    asked: list[str] = field(default_factory=list)

    async def embed(self, texts: object) -> object:
        """Never asked here."""
        raise AssertionError(texts)

    def tokens(self, text: str) -> int:
        """Words."""
        return len(text.split())

    async def close(self) -> None:
        """Nothing is held."""


TYPES = ("bigint", "text", "integer", "numeric(10,2)", "boolean", "double precision", "date")
SOURCE = Source("shop", "SELECT …", "id", "{title}", ("n", "price", "done", "ratio", "day"))
COLUMNS = ("id", "title", *SOURCE.metadata)


def rendering() -> Rendering:
    collection = Collection(UUID(int=1), "c", "local", Embedding("words", "words 1", 2, normalised=False), source=SOURCE)
    return Rendering.of(SOURCE, COLUMNS, collection, Words())  # type: ignore[arg-type]  # nothing is embedded


def page(*rows: tuple[str | None, ...]) -> Rows:
    return Rows(tuple(ColumnHead(name, type_) for name, type_ in zip(COLUMNS, TYPES, strict=True)), rows)


def test_metadata_has_the_kind_of_its_column_and_nulls_are_no_fields():
    [first, second], empty = rendering().documents(
        page(
            ("1", "a {x}", "7", "12.50", "t", "NaN", "2026-01-02"),
            ("2", "b", None, "3.00", "f", "1e3", None),
            ("3", " ", None, None, None, None, None),
        ),
        0,
    )
    assert first.text == "a {x}"
    assert dict(first.metadata) == {"n": 7, "price": 12.5, "done": True, "day": "2026-01-02"}
    assert dict(second.metadata) == {"price": 3, "done": False, "ratio": 1000}
    assert type(second.metadata["done"]) is bool
    assert empty == 1
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((None, "a", None, None, None, None, None), "row 42 has no key"),
        (("", "a", None, None, None, None, None), "row 42 has no key"),
        (("k" * 1001, "a", None, None, None, None, None), "row 42 has no key, or one longer"),
        (("1", "a" * 5_000_001, None, None, None, None, None), "row 42 has a text longer than 5 MB"),
        (("1", "a", None, None, None, None, "canary" * 2000), "row 42: a value of metadata is longer than"),
    ],
)
def test_a_row_that_cannot_be_indexed_is_told_by_its_number(row: tuple[str | None, ...], told: str):
    with pytest.raises(Refused, match=told) as caught:
        rendering().documents(page(row), 41)
    assert "canary" not in caught.value.message


def test_the_keys_that_were_seen_are_told_from_those_that_were_not():
    dice = random.Random(7)  # noqa: S311 the same each time
    seen, keys = Seen(), [f"key {dice.random()}" for _ in range(5000)]
    for start in range(0, 5000, 700):
        seen.add(keys[start : start + 700])
    assert seen.sort()
    others = [f"other {n}" for n in range(300)]
    asked = dice.sample(keys, 300) + others
    dice.shuffle(asked)
    assert sorted(seen.missing(asked)) == sorted(others)
    seen.add(keys[:1])
    assert not seen.sort()
    nothing = Seen()
    assert nothing.sort()
    assert nothing.missing(["a"]) == ["a"]


def test_what_a_collection_follows_is_a_clock_or_a_channel():
    assert followed("") is None
    assert followed("every 60 s") == Every(60)
    assert followed("notify rows_changed") == Notify("rows_changed")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "every 9 s",
            "every 86401 s",
            "every 60",
            "every ٦٠ s",
            "every 60 s\n",
            "notify",
            "notify A",
            'notify a"b',
            "notify a; b",
        ),
        *("notify " + "a" * 64, "listen a", "notify a b", "NOTIFY a"),
    ],
)
def test_what_cannot_be_followed_is_refused(text: str):
    with pytest.raises(Refused):
        followed(text)
