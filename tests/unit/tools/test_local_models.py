"""Embedders that are models in a folder."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fix_onnx import VECTORS, VOCABULARY, onnx_folder

from ostiary_tools.embedders.opening import EmbedderSettings, Kind, opened
from ostiary_tools.embedders.port import Embedder
from ostiary_tools.errors import EmbeddingFailed, Refused

pytestmark = pytest.mark.asyncio
NEEDS_ONNX = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="the extra `onnx` is not installed")
NEEDS_TORCH = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="the extra `sentence-transformers` is not installed: it takes gigabytes"
)


def local(folder: Path, kind: Kind = Kind.ONNX, dimensions: int = 3, max_tokens: int = 512) -> Embedder:
    settings = EmbedderSettings(kind, folder=folder, dimensions=dimensions, max_tokens=max_tokens)
    return opened({"own": settings})["own"]


def mean(*words: str) -> list[float]:
    rows = np.array([VECTORS[VOCABULARY.index(word)] for word in words]).mean(axis=0)
    found: list[float] = (rows / np.linalg.norm(rows)).tolist()
    return found


@NEEDS_ONNX
async def test_a_text_is_the_mean_of_its_tokens_whatever_stands_beside_it(tmp_path: Path):
    embedder = local(onnx_folder(tmp_path / "tiny"))
    found = await embedder.embed(["refund", "money back", "plant light plant \ud83c"])
    assert np.allclose(found, np.array([mean("refund"), mean("money", "back"), mean("plant", "light", "plant", "[UNK]")]))
    assert found[0] @ found[1] > found[0] @ found[2]
    assert embedder.tokens("money back, please") == 4


@NEEDS_ONNX
async def test_a_model_is_given_the_inputs_that_it_asks_for(tmp_path: Path):
    embedder = local(onnx_folder(tmp_path / "tiny", inputs=("input_ids",)))
    assert np.allclose(await embedder.embed(["refund"]), np.array([mean("refund")]))
    with pytest.raises(EmbeddingFailed, match=r"^the model of embedder `own` asks for inputs that no text gives$"):
        await local(onnx_folder(tmp_path / "other", inputs=("input_ids", "pixels"))).embed(["refund"])


@NEEDS_ONNX
async def test_a_text_is_read_as_far_as_the_model_is_said_to_read(tmp_path: Path):
    embedder = local(onnx_folder(tmp_path / "tiny"), max_tokens=2)
    assert np.allclose(await embedder.embed(["plant light " + "refund " * 50]), np.array([mean("plant", "light")]))
    assert embedder.tokens("refund " * 50) == 50


@NEEDS_ONNX
async def test_a_model_of_another_dimension_than_configured_is_told(tmp_path: Path):
    with pytest.raises(EmbeddingFailed, match=r"^embedder `own` gave vectors of 3 dimensions instead of 4$"):
        await local(onnx_folder(tmp_path / "tiny"), dimensions=4).embed(["refund"])


@NEEDS_ONNX
async def test_two_folders_with_the_same_files_are_the_same_model_and_another_file_is_another(tmp_path: Path):
    (tmp_path / "a").mkdir()
    one = local(onnx_folder(tmp_path / "a" / "tiny"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    same = local(tmp_path / "b" / "tiny")
    model = bytearray((tmp_path / "b" / "tiny" / "model.onnx").read_bytes())
    model[-1] ^= 1
    (tmp_path / "b" / "tiny" / "model.onnx").write_bytes(model)
    other = local(tmp_path / "b" / "tiny")
    assert one.model == same.model
    assert one.model.startswith("tiny ")
    assert one.model.endswith(" 3 normalised")
    assert other.model != one.model


@NEEDS_ONNX
@pytest.mark.parametrize("gone", ["", "model.onnx", "tokenizer.json"])
async def test_a_model_that_is_not_there_is_refused_and_not_fetched(tmp_path: Path, gone: str):
    folder = onnx_folder(tmp_path / "tiny")
    shutil.rmtree(folder) if not gone else (folder / gone).unlink()
    with pytest.raises(Refused) as caught:
        local(folder)
    assert caught.value.message == f"embedder `own` has no `{folder / gone if gone else folder}`"
    assert caught.value.hint == "put the model there; none is ever fetched"


@NEEDS_ONNX
@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08" * 1000])
async def test_a_file_that_is_no_model_is_told(tmp_path: Path, content: bytes):
    folder = onnx_folder(tmp_path / "tiny")
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(Refused, match=r"^embedder `own` has a model that cannot be read: "):
        await local(folder).embed(["refund"])


QUIET = """
import asyncio, pathlib, socket, sys
def refused(*_, **__): raise SystemExit("it went to the network")
socket.socket.connect = socket.getaddrinfo = refused
from ostiary_tools.embedders.opening import EmbedderSettings, Kind, opened
settings = EmbedderSettings(Kind.ONNX, folder=pathlib.Path(sys.argv[1]), dimensions=3)
assert asyncio.run(opened({"own": settings})["own"].embed(["refund"])).shape == (1, 3)
"""


@NEEDS_ONNX
async def test_a_model_is_read_without_network_or_a_word_on_stderr(tmp_path: Path):
    folder = onnx_folder(tmp_path / "tiny")
    done = subprocess.run(  # noqa: ASYNC221 nothing else waits here
        [sys.executable, "-c", QUIET, str(folder)], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("kind", "module", "extra"), [(Kind.ONNX, "onnxruntime", "onnx"), (Kind.OPENAI, "numpy", "vector")])
async def test_a_kind_whose_extra_is_missing_says_which(
    kind: Kind, module: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("ostiary_tools.embedders.opening.find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(Refused) as caught:
        local(tmp_path, kind)
    assert caught.value.message == "embedder `own` needs what is not installed here"
    assert caught.value.hint == f"run `pip install 'ostiary[{extra}]'`"


async def test_without_the_extra_there_is_no_embedder_and_no_failure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ostiary_tools.embedders.opening.find_spec", lambda name: None if name == "wordllama" else find_spec(name))
    assert opened({}) == {}


@NEEDS_TORCH
async def test_a_model_of_sentence_transformers_is_read_from_its_folder(tmp_path: Path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW  # the one kind that needs no weights

    folder = tmp_path / "bow"
    SentenceTransformer(modules=[BoW(vocab=VOCABULARY)]).save(str(folder))
    onnx_folder(folder)
    found = await local(folder, Kind.SENTENCE_TRANSFORMERS, dimensions=len(VOCABULARY)).embed(["refund money", "plant"])
    assert found.shape == (2, len(VOCABULARY))


async def test_a_folder_of_sentence_transformers_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The package must not be there to say so."""
    monkeypatch.setattr("ostiary_tools.embedders.opening.find_spec", lambda _: object())
    with pytest.raises(Refused, match=r"^embedder `own` has no `.+/gone`$"):
        local(tmp_path / "gone", Kind.SENTENCE_TRANSFORMERS)
