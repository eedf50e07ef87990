"""An embedder that is a server: what it may answer, and what becomes of it."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest
from fix_embedding_server import EmbeddingServer, Reply, Request, answer, by_length, embedding, vectors

from ostiary_tools.embedders import http
from ostiary_tools.embedders.opening import EmbedderSettings, Kind, opened
from ostiary_tools.embedders.port import Embedder
from ostiary_tools.errors import EmbeddingFailed, ToolError, Unavailable

pytestmark = pytest.mark.asyncio
KEY = "canary-key-2f81"
OPERATOR = "ask the operator"


def asking(server: EmbeddingServer, **wishes: Any) -> Embedder:
    settings = {"dimensions": 2, "timeout_s": 5.0, "model": "m", "key": KEY, **wishes}
    return opened({"far": EmbedderSettings(Kind.OPENAI, url=server.url, **settings)})["far"]


async def failure(reply: Reply, texts: list[str] | None = None, **wishes: Any) -> tuple[ToolError, list[Request]]:
    """What becomes of it, and the requests that were made; no word of the answer and no key is told."""
    async with embedding(reply) as server:
        embedder = asking(server, **wishes)
        with pytest.raises(ToolError) as caught:
            await embedder.embed(texts or ["a"])
        await embedder.close()
        told = (
            f"{caught.value.message} {caught.value.hint} {caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"
        )
        assert "canary" not in told
        assert "127.0.0.1" not in caught.value.message + caught.value.hint
        assert OPERATOR in caught.value.hint
        return caught.value, server.requests


async def test_texts_are_asked_for_as_openai_has_it_and_answers_put_in_their_order():
    async with embedding(by_length) as server:
        embedder = asking(server)
        found = await embedder.embed(["aaa", "bbbb", "üüü\ud83cü"])
        await embedder.close()
    assert np.allclose(found, np.array([[3 / 10**0.5, 1 / 10**0.5], [1, 0], [1, 0]]))
    [request] = server.requests
    assert request.body == {"model": "m", "input": ["aaa", "bbbb", "üüü?ü"], "encoding_format": "float"}
    assert request.head.startswith("POST /v1/embeddings HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n" in request.head


async def test_an_embedder_without_a_key_sends_none():
    async with embedding(by_length) as server:
        embedder = asking(server, key="")
        await embedder.embed(["a"])
        await embedder.close()
    assert "authorization" not in server.requests[0].head.lower()


async def test_it_states_its_model_with_what_changes_its_vectors():
    async with embedding(by_length) as server:
        embedder = asking(server, model="text-embedding-3-small", dimensions=1536)
    assert (embedder.name, embedder.model) == ("far", "text-embedding-3-small 1536 normalised")
    assert KEY not in repr(EmbedderSettings(Kind.OPENAI, key=KEY))


async def test_many_texts_are_asked_for_in_batches_by_number_and_by_length():
    async with embedding(by_length) as server:
        embedder = asking(server, batch=3, batch_chars=1000)
        texts = [*["x"] * 4, "y" * 999, "z", "z", "w" * 5000, "v"]
        assert len(await embedder.embed(texts)) == len(texts)
        await embedder.close()
    assert [[len(text) for text in request.texts] for request in server.requests] == [[1, 1, 1], [1, 999], [1, 1], [5000], [1]]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable", "500 Internal Server Error", "408 Timeout"])
async def test_a_server_that_is_busy_is_asked_again(status: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "_FIRST_WAIT_S", 0.01)
    async with embedding(lambda request: by_length(request) if request.number == 4 else answer(status)) as server:
        embedder = asking(server)
        assert (await embedder.embed(["bbb"])).tolist() == [[1, 0]]
        await embedder.close()
    assert len(server.requests) == 4


async def test_a_server_that_stays_busy_is_asked_five_times(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "_FIRST_WAIT_S", 0.01)
    told, requests = await failure(lambda _: answer("503 Busy", b"canary"))
    assert isinstance(told, Unavailable)
    assert (told.message, len(requests)) == ("embedder `far` answered 503", 5)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_it_is_asked_again_when_it_says_and_not_before(form: str):
    clock = asyncio.get_running_loop().time

    def busy(request: Request) -> bytes:
        began.append(clock())
        # A date has whole seconds: two from now is more than one.
        when = "1" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return answer("429 Too Many Requests", Retry_After=when) if request.number == 1 else by_length(request)

    began: list[float] = []
    async with embedding(busy) as server:
        embedder = asking(server)
        await embedder.embed(["a"])
        await embedder.close()
    assert began[1] - began[0] > 0.95


async def test_one_that_says_when_is_asked_as_often_as_there_is_time(monkeypatch: pytest.MonkeyPatch):
    async with embedding(lambda r: by_length(r) if r.number == 12 else answer("429 Later", Retry_After="0")) as server:
        embedder = asking(server)
        await embedder.embed(["a"])
        await embedder.close()
    assert len(server.requests) == 12


@pytest.mark.parametrize("when", ["6", "99999", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_one_that_wants_more_time_than_there_is_is_not_waited_for(when: str):
    told, requests = await failure(lambda _: answer("429 Too Many Requests", Retry_After=when))
    assert isinstance(told, Unavailable)
    assert told.message == "embedder `far` answered 429, and there is no time to ask it again"
    assert len(requests) == 1


@pytest.mark.parametrize("when", ["soon", "-1", "1e9", "٣", "", "Fri, 99 Foo 2100", "Mon, 01 Jan 1990 00:00:00 -0000"])
async def test_what_is_no_time_to_come_back_is_passed_over(when: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "_FIRST_WAIT_S", 0.01)
    raw = answer("503 Busy").replace(b"\r\n\r\n", b"\r\nRetry-After: " + when.encode() + b"\r\n\r\n")
    async with embedding(lambda r: by_length(r) if r.number == 2 else raw) as server:
        embedder = asking(server)
        await embedder.embed(["a"])
        await embedder.close()
    assert len(server.requests) == 2


async def test_a_server_that_does_not_answer_is_given_up():
    told, _ = await failure(lambda _: b"", timeout_s=0.3)
    assert isinstance(told, Unavailable)
    assert told.message == "embedder `far` did not answer within 0.3 seconds"


async def test_a_server_that_answers_without_an_end_is_given_up():
    told, _ = await failure(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", timeout_s=0.3)
    # It closes the connection, so that it is asked again as long as there is time.
    assert isinstance(told, Unavailable)


async def test_a_server_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "_FIRST_WAIT_S", 0.01)
    async with embedding(by_length) as server:
        pass
    embedder = asking(server)
    with pytest.raises(Unavailable, match=r"^embedder `far` cannot be asked: ConnectError$"):
        await embedder.embed(["a"])
    await embedder.close()


def huge(_: Request) -> bytes:
    return answer(body=b'{"data": "canary' + b" " * 10_000_000)


GARBAGE = [
    b"",
    b"canary",
    b"[]",
    b"{}",
    b'{"data": null}',
    b'{"data": {"index": 0}}',
    b'{"data": ["canary"]}',
    b'{"data": [{"embedding": [1, 2]}]}',
    b'{"data": [{"index": 0}]}',
    b'{"data": [{"index": "0", "embedding": [1, 2]}]}',
    b'{"data": [{"index": true, "embedding": [1, 2]}]}',
    b'{"data": [{"index": 1, "embedding": [1, 2]}]}',
    b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 0, "embedding": [1, 2]}]}',
    b'{"data": [{"index": 0, "embedding": "canary"}]}',
    b'{"data": [{"index": 0, "embedding": ["1", "2"]}]}',
    b'{"data": [{"index": 0, "embedding": [null, null]}]}',
    b'{"data": [{"index": 0, "embedding": [[1, 2]]}]}',
    b'{"data": [{"index": 0, "embedding": 1}]}',
    b'{"data": [{"index": 0, "embedding": [1, {"canary": 2}]}]}',
    b'{"data": [{"index": 0, "embedding": [true, false]}]}',
    b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b", 2]}]}",
    b'{"data": [{"index": 0, "embedding": [1' + b"0" * 5000 + b", 2]}]}",
    b'{"data": ' + b"[" * 20_000,
    b'\xff\xfe{"data": []}',
]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
async def test_what_is_no_answer_is_told_without_its_words(body: bytes):
    told, requests = await failure(lambda _: answer(body=body))
    assert isinstance(told, EmbeddingFailed)
    assert told.message.startswith("embedder `far` answered with what are no vectors")
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (lambda _: vectors([1, 2], [3, 4]), "gave 2 vectors for 3 texts"),
        (lambda _: vectors(), "gave 0 vectors for 3 texts"),
        (lambda _: vectors(*[[1, 2]] * 4), "gave 4 vectors for 3 texts"),
        (lambda _: vectors(*[[1, 2, 3]] * 3), "gave vectors of 3 dimensions instead of 2"),
        (lambda _: vectors([1, 2], [1, float("nan")], [1, 2]), "gave a vector that is no finite number"),
        (lambda _: vectors([1, 2], [1, float("-inf")], [1, 2]), "gave a vector that is no finite number"),
        (lambda _: vectors([1, 2], [0, 0], [1, 2]), "gave a vector that is no finite number"),
        (lambda _: vectors([1, 2], [1, 2, 3], [1, 2]), "answered with what are no vectors, each with its number"),
        (huge, "answered with more than 69,688 bytes"),
        (lambda _: answer("302 Found", Location="http://127.0.0.1:1/canary"), "answered with a redirect, which is not followed"),
        (lambda _: answer("401 No", b"canary"), "refused its key"),
        (lambda _: answer("403 No", b"canary"), "refused its key"),
        (lambda _: answer("400 Bad canary", b'{"error": "canary"}'), "answered 400"),
        (lambda _: answer("413 Too Large"), "answered 413"),
        (lambda _: answer("204 No Content"), "answered 204"),
        (lambda _: answer(body=b"canary", Content_Encoding="gzip"), "answered compressed, which was not asked for"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_not_asked_for_again(reply: Reply, told: str):
    error, requests = await failure(reply, ["a", "b", "c"])
    assert error.message == f"embedder `far` {told}"
    assert len(requests) == 1


async def test_a_dimension_that_changes_between_batches_is_told():
    def changing(request: Request) -> bytes:
        return vectors([1, 2]) if request.number == 1 else vectors([1, 2, 3])

    told, _ = await failure(changing, ["a", "b"], batch=1)
    assert told.message == "embedder `far` gave vectors of 3 dimensions instead of 2"


async def test_a_redirect_is_told_and_nobody_else_asked():
    async with embedding(by_length) as other:
        told, _ = await failure(lambda _: answer("307 Temporary Redirect", Location=f"{other.url}/embeddings"))
    assert "redirect" in told.message
    assert other.requests == []


async def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with embedding(lambda r: by_length(r) if r.number > 1 else answer("429 Later", Retry_After="0")) as server:
        embedder = asking(server)
        await embedder.embed(["a"])
        await embedder.close()
    assert caplog.records
    assert KEY not in caplog.text


async def test_the_loop_goes_on_while_a_large_answer_is_read():
    rows = 400

    def large(request: Request) -> bytes:
        return vectors(*[[0.123456789] * 1024] * len(request.texts))

    async with embedding(large) as server:
        embedder = asking(server, dimensions=1024, batch=rows, timeout_s=30.0)
        work = asyncio.create_task(embedder.embed(["a"] * rows))
        turns = 0
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await work).shape == (rows, 1024)
        await embedder.close()
    assert turns > 100


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("refund", 1), ("understanding", 3), ("12345", 2), ("日本語", 3), ("a, b.", 4), ("🎉", 1), ("naïve", 4)],
)
async def test_tokens_are_estimated_rather_too_many_than_too_few(text: str, tokens: int):
    async with embedding(by_length) as server:
        assert asking(server).tokens(text) == tokens
