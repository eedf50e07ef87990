"""Embedders of this process."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostiary_tools.embedders.checked import Checked
from ostiary_tools.embedders.opening import opened
from ostiary_tools.embedders.port import Embedder
from ostiary_tools.errors import EmbeddingFailed, Refused

TEXTS = [
    "The customer wants the money back for a broken parcel.",
    "A refund is asked for, since the package arrived damaged.",
    "Photosynthesis turns light into sugar.",
]


@pytest.fixture
def wordllama() -> Embedder:
    return opened({})["wordllama"]


@pytest.mark.asyncio
async def test_near_texts_are_nearer(wordllama: Embedder):
    money, refund, plants = await wordllama.embed(TEXTS)
    assert money @ refund > 2 * abs(money @ plants)


@pytest.mark.asyncio
async def test_wordllama_gives_the_vectors_of_its_own_package(wordllama: Embedder):
    package = pytest.importorskip("wordllama")
    theirs = package.WordLlama.load(cache_dir=Path(package.__file__).parent, disable_download=True)
    texts = [*TEXTS, "naïve — 日本語 🎉", "x", "    indented\n\tcode()"]
    assert np.allclose(await wordllama.embed(texts), theirs.embed(texts, norm=True), atol=1e-6)
    assert wordllama.tokens(texts[3]) == len(theirs.tokenize(texts[3])[0].ids)


@pytest.mark.asyncio
async def test_wordllama_states_what_it_is(wordllama: Embedder):
    assert (wordllama.name, wordllama.model, wordllama.dimension, wordllama.normalised) == (
        "wordllama",
        "wordllama-0.4 l2_supercat 256 normalised",
        256,
        True,
    )


@pytest.mark.asyncio
async def test_a_text_has_the_same_vector_alone_and_among_others(wordllama: Embedder):
    many = [f"{TEXTS[n % 3]} {n}" for n in range(1000)]
    together = await wordllama.embed(many)
    alone = np.concatenate([await wordllama.embed([many[n]]) for n in (0, 255, 256, 999)])
    assert np.allclose(together[[0, 255, 256, 999]], alone, atol=1e-6)


@pytest.mark.asyncio
async def test_of_a_document_of_five_megabytes_only_the_beginning_is_read(wordllama: Embedder):
    long = "lorem ipsum dolor " * 300_000
    found = await wordllama.embed([long, long[:100_000]])
    assert (found[0] == found[1]).all()


@pytest.mark.asyncio
async def test_half_of_a_surrogate_pair_is_embedded_like_any_text(wordllama: Embedder):
    assert (await wordllama.embed(["a \ud83c z"])).shape == (1, 256)
    assert wordllama.tokens("a \ud83c z") == wordllama.tokens("a ? z")


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["", "  \n\t"])
async def test_an_empty_text_is_refused(wordllama: Embedder, text: str):
    with pytest.raises(Refused, match="an empty text has no meaning to search by"):
        await wordllama.embed(["a", text])


@pytest.mark.asyncio
async def test_no_text_is_no_vector(wordllama: Embedder):
    assert (await wordllama.embed([])).shape == (0, 256)


@pytest.mark.asyncio
async def test_the_loop_goes_on_while_much_is_embedded(wordllama: Embedder):
    work = asyncio.create_task(wordllama.embed([f"{TEXTS[0]} {n}" for n in range(5000)]))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await work).shape == (5000, 256)
    assert turns > 100


OFFLINE = """
import asyncio, logging, socket, sys
def refused(*_, **__): raise SystemExit("it went to the network")
socket.socket.connect = socket.getaddrinfo = refused
from ostiary_tools.embedders.opening import opened
found = asyncio.run(opened({})["wordllama"].embed(["offline"]))
assert found.shape == (1, 256)
assert not logging.root.handlers, "it set up logging"
assert not {"wordllama", "requests", "huggingface_hub"} & set(sys.modules), "it imported what could fetch"
"""


def test_wordllama_loads_without_network_or_a_home(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env={"HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


class Misbehaving:
    """An embedder that states more than it does."""

    name, model, dimension, normalised, max_tokens = "odd", "odd-1", 2, True, 512

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def embed(self, texts: Sequence[str]) -> Any:
        """Whatever was asked for."""
        return self.answer[: 9 * len(texts)]

    def tokens(self, text: str) -> int:
        """One a character."""
        return len(text)

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([[1.0, 0.0]], "1 vectors for 2 texts"),
        ([[1.0, 0.0]] * 3, "3 vectors for 2 texts"),
        ([1.0, 0.0], "2 vectors for 2 texts"),
        ([[1.0, 0.0, 0.0]] * 2, "vectors of 3 dimensions instead of 2"),
        ([[1.0, 0.0], [float("nan"), 0.0]], "a vector that is no finite number"),
        ([[1.0, 0.0], [float("inf"), 0.0]], "a vector that is no finite number"),
        ([[1.0, 0.0], [1e39, 0.0]], "a vector that is no finite number"),
        ([[1.0, 0.0], [0.5, 0.5]], "a vector whose length is not 1"),
        ([[1.0, 0.0], [0.0, 0.0]], "a vector whose length is not 1"),
    ],
)
async def test_whatever_the_embedder_what_cannot_be_used_is_told(answer: Any, told: str):
    with pytest.raises(EmbeddingFailed) as caught:
        await Checked(Misbehaving(np.array(answer)), 10, 100).embed(["a", "b"])
    assert caught.value.message == f"embedder `odd` gave {told}"
