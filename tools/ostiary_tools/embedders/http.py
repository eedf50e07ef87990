"""A server that embeds as OpenAI's `/v1/embeddings` does.

No redirect is followed and no proxy of the environment used: texts go where the configuration says. What it answers is believed to
be numbers and nothing else, and stands in no message; neither does its key.
"""

import asyncio
import json
import random
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx2

from ostiary_tools.embedders.lengths import unit
from ostiary_tools.embedders.local_model import encodable
from ostiary_tools.errors import EmbeddingFailed, Unavailable

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix

_CONNECT_S = 10.0
_AT_ONCE = 4
"""Requests of all calls together; the others wait."""
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that another try may change."""
_TRIES = 5
"""Unless the server itself says when to come back."""
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0
_BYTES_A_NUMBER = 192
"""Four times what a number takes in the most spacious JSON: vectors of another dimension than stated are read, to be told apart."""
_BYTES_BESIDE = 65_536
_WORDS = re.compile(r"[A-Za-z]+|\d+|[^\W\d_]+|\S")
_OPERATOR = "ask the operator to look at the embedder's configuration"


class _Again(Exception):
    """Worth another try, when the server says, or after a while."""

    def __init__(self, told: str, after_s: float | None = None) -> None:
        super().__init__(told)
        self.told = told
        self.after_s = after_s


class HttpEmbedder:
    """One request a call, and more only where it failed."""

    normalised = True

    def __init__(self, name: str, url: str, key: str, model: str, *, dimension: int, max_tokens: int, timeout_s: float) -> None:
        """`url` is all before `/embeddings`; `timeout_s` bounds a call with all its tries."""
        self.name = name
        self.model = f"{model} {dimension} normalised"
        self.dimension = dimension
        self.max_tokens = max_tokens
        self._asked = model
        self._url = f"{url.rstrip('/')}/embeddings"
        self._key = key
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._http: httpx2.AsyncClient | None = None

    async def embed(self, texts: Sequence[str]) -> "Matrix":
        """A row of length 1 for each text, in their order."""
        body = await asyncio.to_thread(self._body, texts)
        most = _BYTES_BESIDE + len(texts) * (self.dimension * _BYTES_A_NUMBER + 1000)
        try:
            async with asyncio.timeout(self._timeout_s) as bound, self._places:
                answer = await self._answer(body, most, bound.when() or 0)
        except TimeoutError:
            raise self._unavailable(f"did not answer within {self._timeout_s:g} seconds") from None
        return await asyncio.to_thread(self._vectors, answer, len(texts))

    def _body(self, texts: Sequence[str]) -> bytes:
        return json.dumps({"model": self._asked, "input": [encodable(text) for text in texts], "encoding_format": "float"}).encode()

    async def _answer(self, body: bytes, most: int, until: float) -> bytes:
        tries = 0
        while True:
            try:
                return await self._tried(body, most)
            except _Again as again:
                tries += 1
                if again.after_s is None and tries == _TRIES:
                    raise self._unavailable(again.told) from None
                wait_s = _wait_s(tries) if again.after_s is None else again.after_s
                if asyncio.get_running_loop().time() + wait_s > until:
                    raise self._unavailable(f"{again.told}, and there is no time to ask it again") from None
            await asyncio.sleep(wait_s)

    async def _tried(self, body: bytes, most: int) -> bytes:
        """What a server that is well answers. Raises _Again, Unavailable and EmbeddingFailed."""
        if self._http is None:
            self._http = _client(self._timeout_s, self._key)
        try:
            async with self._http.stream("POST", self._url, content=body) as response:
                self._judge(response)
                return await self._read(response, most)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            # Not chained: the request in it holds the key.
            raise _Again(f"cannot be asked: {type(error).__name__}") from None

    def _judge(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status in _AGAIN:
            raise _Again(f"answered {status}", _after_s(response.headers.get("retry-after", "")))
        if response.is_redirect:
            raise self._unavailable("answered with a redirect, which is not followed")
        if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            raise self._unavailable("refused its key")
        if status != httpx2.codes.OK:
            raise self._failed(f"answered {status}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._failed("answered compressed, which was not asked for")

    async def _read(self, response: httpx2.Response, most: int) -> bytes:
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > most:
                raise self._failed(f"answered with more than {most:,} bytes")
        return bytes(body)

    def _vectors(self, answer: bytes, count: int) -> "Matrix":
        import numpy as np  # heavy

        try:
            rows = _in_order(json.loads(answer)["data"])
            # Another number of vectors or dimension is for who checks every embedder to tell.
            vectors: Matrix = np.array(rows) if rows else np.empty((0, self.dimension), np.float32)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._failed("answered with what are no vectors, each with its number") from None
        if vectors.dtype.kind not in "fi" or vectors.ndim != 2:  # noqa: PLR2004 rows and columns
            raise self._failed("answered with what are no vectors of numbers")
        return unit(vectors) if len(vectors) == count else np.asarray(vectors, np.float32)

    def tokens(self, text: str) -> int:
        """Rather too many than too few: six letters of a word, three digits, or one of any other character."""
        return sum(_tokens_of(found[0]) for found in _WORDS.finditer(text))

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(f"embedder `{self.name}` {what}", _OPERATOR)

    def _failed(self, what: str) -> EmbeddingFailed:
        return EmbeddingFailed(f"embedder `{self.name}` {what}", _OPERATOR)

    async def close(self) -> None:
        """Close its connections."""
        if self._http is not None:
            await self._http.aclose()


def _client(timeout_s: float, key: str) -> httpx2.AsyncClient:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Content-Type": "application/json"}
    return httpx2.AsyncClient(
        follow_redirects=False,
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
        trust_env=False,
        headers=headers | ({"Authorization": f"Bearer {key}"} if key else {}),
    )


def _in_order(items: Any) -> list[list[float]]:
    """The vectors by their `index`. Raises ValueError where these are not the numbers from 0."""
    by_index: Mapping[int, list[float]] = {item["index"]: item["embedding"] for item in items}
    if len(by_index) != len(items) or any(type(index) is not int for index in by_index):
        raise ValueError("numbered twice, or not at all")
    return [by_index[n] for n in range(len(items))]


def _wait_s(tries: int) -> float:
    """Twice as long each time, and never the same for all who wait."""
    return min(_FIRST_WAIT_S * 2.0 ** (tries - 1), _LONGEST_WAIT_S) * random.uniform(0.75, 1.0)  # noqa: S311 no secret


def _after_s(header: str) -> float | None:
    """`Retry-After` as seconds from now, stated as these or as a date; none where it says neither."""
    if re.fullmatch(r"\d{1,9}", header.strip(), re.ASCII):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    # One without a zone, as `-0000` gives, is of Greenwich.
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _tokens_of(piece: str) -> int:
    if piece.isascii() and piece.isalpha():
        return (len(piece) + 5) // 6
    return (len(piece) + 2) // 3 if piece.isdigit() else len(piece)
