"""How well `search` answers questions to documentation: by meaning, by words and by both, through the real tool.

The passages are the documentation of the standard library of the Python that runs. The questions, by `cases/meaning`, were
written by hand before any search was asked, as people ask: some with an identifier or a rare word, most without the words of
what answers them. None was changed since because of what was found.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from statistics import fmean

import pytest
from fix_library import Asked, gain, library
from fix_postgres import PostgresServer
from fix_search import Document, bundled, collection, found, shelved
from mcp import Client

KEPT = library()
MODES = ("vector", "text", "hybrid")
POLICY = '@id("all") permit (principal in Role::"reader", action, resource);'


@asynccontextmanager
async def reader_of(server: PostgresServer, template: str, passages: Mapping[str, str]) -> AsyncIterator[Client]:
    """Who may search these."""
    with shelved(server, template, policy=POLICY) as shelf:
        await shelf.keep(collection("library", bundled()), [Document(name, [text]) for name, text in passages.items()])
        async with shelf.asked() as client:
            yield client


async def gains(reader: Client, questions: Sequence[Asked]) -> Mapping[str, Sequence[float]]:
    """By mode: the nDCG@10 of each, with the tool's own weights."""
    reached: dict[str, list[float]] = {mode: [] for mode in MODES}
    for asked in questions:
        for mode in MODES:
            answer = await found(reader, collection="library", text=asked.text, mode=mode)
            reached[mode].append(gain(asked, [id_.removesuffix("#0") for id_ in answer.ids]))
    return reached


def told(name: str, reached: Mapping[str, Sequence[float]]) -> None:
    """In a line."""
    means = (f"{mode} {fmean(each):.3f}" for mode, each in reached.items())
    print(f"{name:8} {len(reached['hybrid']):4}", *means, flush=True)  # noqa: T201 the measure


@pytest.mark.slow
@pytest.mark.asyncio
async def test_both_together_answer_better_than_meaning_alone_and_words_alone(postgres_server: PostgresServer, audit_template: str):
    assert len(KEPT.passages) >= 1_000
    assert len(KEPT.questions) >= 200
    every: dict[str, list[float]] = {mode: [] for mode in MODES}
    async with reader_of(postgres_server, audit_template, KEPT.passages) as reader:
        print(f"\nmean nDCG@10 over {len(KEPT.passages)} passages")  # noqa: T201 the measure
        for section in ("names", "meaning", "mixed"):
            reached = await gains(reader, [asked for asked in KEPT.questions if asked.section == section])
            told(section, reached)
            for mode, each in reached.items():
                every[mode] += each
    told("all", every)
    assert fmean(every["hybrid"]) > max(fmean(every["vector"]), fmean(every["text"]))


@pytest.mark.asyncio
async def test_an_identifier_and_a_question_in_other_words_both_find_their_passage(
    postgres_server: PostgresServer, audit_template: str
):
    """A slice of the same: answers of every twelfth question among some hundred other passages."""
    questions = KEPT.questions[::12]
    wanted = frozenset[str]().union(*(asked.answers for asked in questions))
    passages = {name: text for place, (name, text) in enumerate(KEPT.passages.items()) if name in wanted or place % 20 == 0}
    async with reader_of(postgres_server, audit_template, passages) as reader:
        reached = await gains(reader, questions)
    told("slice", reached)
    assert fmean(reached["hybrid"]) > 0.6
