"""Chroma's own MCP server over the folder of `raw chroma`.

It searches by text alone, so it is given an embedder that takes next to no time: a server here that answers the number of a
question with its vector. The request for that is in what is measured of it.
"""

import json
import os
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from vectors_by_hand import Data, K, Search

_KEY = "CHROMA_OPENAI_API_KEY"


@contextmanager
def embedding(data: Data) -> Iterator[str]:
    """Where questions are embedded, as at OpenAI."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            vectors = [data.questions[int(text)].tolist() for text in asked["input"]]
            found = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
            body = json.dumps({"object": "list", "data": found, "model": "known", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def remembered(url: str) -> Any:
    """What a collection keeps of such an embedder; its own class needs a package that only the server must have."""
    from chromadb.api.types import EmbeddingFunction

    class Known(EmbeddingFunction[Any]):
        def __init__(self) -> None:
            pass

        def __call__(self, input: Any) -> Any:  # noqa: A002  as it is called
            raise NotImplementedError

        @staticmethod
        def name() -> str:
            return "openai"

        def is_legacy(self) -> bool:
            return False

        def get_config(self) -> dict[str, Any]:
            return {"api_key_env_var": _KEY, "model_name": "known", "api_base": url}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> "Known":
            raise NotImplementedError(config)

    return Known()


async def chroma_mcp(command: str, folder: Path, stack: AsyncExitStack) -> Search:
    """A search by it."""
    program, *args = shlex.split(command)
    parameters = StdioServerParameters(
        command=program,
        args=[*args, "--client-type", "persistent", "--data-dir", str(folder)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            _KEY: "none",
            "ANONYMIZED_TELEMETRY": "False",
            "FASTMCP_LOG_LEVEL": "WARNING",
        },
    )
    client = await stack.enter_async_context(Client(parameters, mode="legacy"))

    async def search(number: int, share: int | None) -> Sequence[str]:
        where = {} if share is None else {"where": {"bucket": {"$lt": share}}}
        asked = {"collection_name": "raw", "query_texts": [str(number)], "n_results": K, "include": ["distances"], **where}
        reply = await client.call_tool("chroma_query_documents", asked)
        text = reply.content[0].text  # type: ignore[union-attr]  # it answers in text
        assert not reply.is_error, text
        found: list[str] = json.loads(text)["ids"][0]
        return found

    return search
