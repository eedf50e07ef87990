"""A Chroma store beside others on its folder, before servers that are none, and in silence."""

import asyncio
import fcntl
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from fix_chroma import ChromaServer
from fix_postgres import PostgresServer
from fix_server import MakeSite
from fix_vectors import document, documents, ids, new_collection, vectors
from fix_waiting import ended

from ostiary_tools.errors import Refused, ToolError, Unavailable
from ostiary_tools.vectors.chroma import words
from ostiary_tools.vectors.chroma.store import ChromaStore
from ostiary_tools.vectors.collection import Collection, Layout, Metric
from ostiary_tools.vectors.filters import Compare
from ostiary_tools.vectors.port import Reach
from ostiary_tools.vectors.settings import ChromaSettings

pytestmark = pytest.mark.asyncio

_ORDER = """
import asyncio, sys
from pathlib import Path
from uuid import uuid4
from ostiary_tools.vectors.chroma.store import ChromaStore
from ostiary_tools.vectors.settings import ChromaSettings

class Watch:
    def find_spec(self, name, path, target=None):
        if name == "chromadb":
            assert hasattr(sys.modules.get("numpy"), "array"), "numpy is not loaded"

async def main():
    store = ChromaStore(ChromaSettings("tried", path=Path(sys.argv[1])))
    await store._turns.read(lambda chroma: None)
    await store.close()

sys.meta_path.insert(0, Watch())
asyncio.run(main())
assert "chromadb" in sys.modules
"""
_OTHER = """
import asyncio, sys
from pathlib import Path
from uuid import UUID
from fix_vectors import document, new_collection
from dataclasses import replace
from ostiary_tools.vectors.chroma.store import ChromaStore
from ostiary_tools.vectors.collection import Layout
from ostiary_tools.vectors.port import Reach
from ostiary_tools.vectors.settings import ChromaSettings

async def main():
    store = ChromaStore(ChromaSettings("other", path=Path(sys.argv[1])))
    collection = replace(new_collection(layout=Layout()), id=UUID(sys.argv[2]))
    await store.create(collection)
    await store.put(collection, document("theirs", "told by another", seed=5))
    found = await store.nearest(collection, document("theirs", "", seed=5)[0].vector, Reach(9))
    await store.matching(collection, "another", Reach(9))
    assert found[0].key == "theirs"
    await store.close()

asyncio.run(main())
"""


@asynccontextmanager
async def opened(settings: ChromaSettings) -> AsyncIterator[ChromaStore]:
    store = ChromaStore(settings)
    try:
        yield store
    finally:
        await store.close()


def made(metric: Metric = Metric.COSINE) -> Collection:
    return new_collection(metric, Layout())


async def other(
    folder: Path, collection: Collection, *, cwd: Path | None = None, **environment: str
) -> tuple[str, str, int | None]:
    """Another process that puts a document into the folder: what it says, and how it ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _OTHER,
        str(folder),
        str(collection.id),
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await ended(process)
    return out, err, process.returncode


async def test_processes_take_turns_on_a_folder_and_see_what_others_wrote(tmp_path: Path):
    """Without turns a process goes on with an index that does not know what the other one put: seen with Chroma 1.5.9."""
    collection = made()
    async with opened(ChromaSettings("tried", path=tmp_path / "chroma")) as store:
        await store.create(collection)
        await store.put(collection, documents(5))
        assert await other(tmp_path / "chroma", collection) == ("", "", 0)
        found = await store.nearest(collection, vectors(1, 5)[0], Reach(1))
        assert ids(found) == ["theirs#0"]
        await asyncio.gather(other(tmp_path / "chroma", collection), *(store.put(collection, documents(9)) for _ in range(5)))
        assert await store.count(collection) == 10


async def test_numpy_is_whole_before_chroma_is_loaded(tmp_path: Path):
    """Chroma begins with a part of numpy, and Python gives who loads numpy meanwhile half of it: seen at a server's start."""
    process = await asyncio.create_subprocess_exec(*(sys.executable, "-c", _ORDER, str(tmp_path)), stderr=asyncio.subprocess.PIPE)
    assert (await ended(process))[1] == ""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[int]:
    """Somebody else's lock on the folder."""
    with (tmp_path / "ostiary.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


async def test_a_folder_that_another_process_keeps_is_told_with_a_way_out(tmp_path: Path, kept: int):
    async with opened(ChromaSettings("tried", path=tmp_path, timeout_s=0.1)) as store:
        with pytest.raises(Unavailable, match="another process") as caught:
            await store.count(made())
        assert "chroma run" in caught.value.hint
        fcntl.flock(kept, fcntl.LOCK_UN)
        await store.create(made())


async def test_who_stops_waiting_leaves_the_store_as_it_is(tmp_path: Path):
    collection = made()
    async with opened(ChromaSettings("tried", path=tmp_path / "chroma")) as store:
        for _ in range(3):
            waiting = asyncio.ensure_future(store.create(collection))
            await asyncio.sleep(0)
            waiting.cancel()
            assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
        await store.create(collection)
        putting = asyncio.ensure_future(store.put(collection, documents(50)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        await store.put(collection, documents(50))
        assert len(await store.digests(collection, [f"d{n:05}" for n in range(50)])) == 50


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder of everybody, and a file."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_text("")
    return tmp_path


async def test_a_folder_that_others_could_write_to_is_refused(places: Path):
    for path in (places / "open", Path("relative"), places / "a\0b"):
        async with opened(ChromaSettings("tried", path=path)) as store:
            with pytest.raises(Refused):
                await store.create(made())
    async with opened(ChromaSettings("tried", path=places / "file")) as store:
        with pytest.raises(Unavailable):
            await store.create(made())


async def test_a_folder_of_a_newer_chroma_is_refused_and_left_as_it_is(tmp_path: Path):
    """Chroma opens it without a word."""
    async with opened(ChromaSettings("tried", path=tmp_path / "chroma")) as store:
        await store.create(made())
    database = tmp_path / "chroma" / "chroma.sqlite3"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES ('sysdb', 99, '00099-x.sqlite.sql', '', '')")
    before = database.read_bytes()
    async with opened(ChromaSettings("tried", path=tmp_path / "chroma")) as store:
        with pytest.raises(Refused, match="newer Chroma"):
            await store.create(made())
    assert database.read_bytes() == before


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """A folder whose database is none."""
    (tmp_path / "chroma.sqlite3").write_bytes(b"nothing of it" * 1_000)
    return tmp_path


async def test_a_folder_whose_database_is_none_is_told(spoilt: Path):
    async with opened(ChromaSettings("tried", path=spoilt)) as store:
        with pytest.raises(Unavailable):
            await store.create(made())


_MISLEADING = {
    "CHROMA_API_IMPL": "chromadb.api.fastapi.FastAPI",
    "CHROMA_SERVER_HOST": "192.0.2.1",
    "CHROMA_SERVER_HTTP_PORT": "1",
    "ALLOW_RESET": "true",
    "ANONYMIZED_TELEMETRY": "true",
    "CHROMA_OTEL_COLLECTION_ENDPOINT": "http://192.0.2.1:4317",
    "MIGRATIONS": "none",
}


@pytest.fixture
def misled(tmp_path: Path) -> Path:
    """Where one would be misled."""
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in _MISLEADING.items()))
    return tmp_path


async def test_chroma_says_nothing_and_heeds_neither_environment_nor_files_where_it_was_started(misled: Path):
    assert await other(misled / "chroma", made(), cwd=misled, **_MISLEADING) == ("", "", 0)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://localhost", "file:///etc/passwd", "http://", "http://a:b@localhost", "http://localhost/?a=b"],
)
async def test_what_is_no_url_of_a_server_is_refused(url: str):
    async with opened(ChromaSettings("tried", url=url)) as store:
        with pytest.raises(Refused):
            await store.create(made())


async def test_a_key_does_not_travel_in_clear_text():
    async with opened(ChromaSettings("tried", url="http://192.0.2.1:8000", key="canary")) as store:
        with pytest.raises(Refused) as caught:
            await store.create(made())
    assert "canary" not in caught.value.message + caught.value.hint


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says the same to all, or takes what it is told and says nothing; its URL and what it heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65_536))
        if answer is not None:
            writer.write(answer)
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()


def _reply(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"nothing of it\r\n\r\n",
        _reply("200 OK", "{}"),
        _reply("200 OK", "canary"),
        _reply("502 Bad Gateway", "canary"),
        _reply("401 Unauthorized", '{"error": "AuthorizationError", "message": "canary"}'),
        _reply("302 Found\r\nLocation: http://192.0.2.1/", "canary"),
        _reply("500 Internal Server Error", '{"error": "InternalError", "message": "canary"}'),
    ],
)
async def test_a_server_that_is_no_chroma_is_told_in_our_words(answer: bytes | None):
    async with answering(answer) as (url, _), opened(ChromaSettings("tried", url=url, timeout_s=0.5)) as store:
        async with asyncio.timeout(20):
            with pytest.raises(ToolError) as caught:
                await store.put(made(), document("k", "canary"))
        assert "canary" not in caught.value.message + caught.value.hint


async def test_a_server_is_told_the_key():
    async with (
        answering(_reply("500 No", "")) as (url, heard),
        opened(ChromaSettings("tried", url=url, key="our-key", timeout_s=5)) as store,
    ):
        with pytest.raises(ToolError):
            await store.create(made())
    assert b"authorization: bearer our-key" in heard[0].lower()


def put_foreign(url: str, collection: Collection) -> None:
    """What another client of the same server puts there."""
    import chromadb

    client = chromadb.HttpClient(url, 0)
    theirs = client.get_collection(str(collection.id), embedding_function=None)
    theirs.upsert(ids=["x0", "x1"], embeddings=vectors(2, 44), documents=["text number"] * 2)
    theirs.upsert(ids=["x2"], embeddings=vectors(1, 44), documents=["text number"], metadatas=[{"key": "d00000", "number": "x"}])


async def test_what_others_put_into_a_collection_is_no_chunk(chroma_server: ChromaServer):
    collection = made()
    ours = ["d00000", "d00001", "d00002"]
    async with opened(ChromaSettings("tried", url=chroma_server.url)) as store:
        await store.create(collection)
        await store.put(collection, documents(3))
        await asyncio.to_thread(put_foreign, chroma_server.url, collection)
        point = vectors(1, 44)[0]
        for reach in (Reach(10), Reach(10, exact=True), Reach(10, Compare("n", "ge", 0)), Reach(10, keys=tuple(ours))):
            assert sorted(one.key for one in await store.nearest(collection, point, reach)) == ours
        assert sorted(one.key for one in await store.matching(collection, "text", Reach(10))) == ours
        assert sorted(await store.digests(collection, [*ours, "x0"])) == ours
        assert sorted([key async for some in store.keys(collection, batch=9) for key in some]) == ours
        await store.drop(collection)


async def test_rare_words_weigh_more_than_common_ones(chroma_settings: ChromaSettings):
    collection = made()
    async with opened(chroma_settings) as store:
        await store.create(collection)
        texts = [f"the invoice of the customer {n}" for n in range(40)] + ["a refund", "the refunds and the Straße", "STRASSE"]
        await store.put(collection, [chunk for n, text in enumerate(texts) for chunk in document(f"k{n:02}", text)])
        assert ids(await store.matching(collection, "the refund", Reach(2))) == ["k41#0", "k40#0"]
        assert ids(await store.matching(collection, "invoice 7 refund", Reach(1)))[0] in {"k07#0", "k40#0"}
        assert ids(await store.matching(collection, "straße", Reach(9))) == ["k41#0"]
        assert len(await store.matching(collection, "the of", Reach(100))) == 41
        await store.drop(collection)


STORE = """
[agent]
role = "reader"
roles = ["reader"]
[vectors.here]
kind = "chroma"
"""


def _calls() -> Iterator[dict[str, Any]]:
    """What a client says that makes a collection, puts into it and searches it."""
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "tried", "version": "1"}}
    yield {"id": 1, "method": "initialize", "params": client}
    yield {"method": "notifications/initialized"}
    documents = [
        {"key": "refunds", "text": "Money goes back within five days."},
        {"key": "tea", "text": "Water at eighty degrees."},
    ]
    for number, (tool, arguments) in enumerate(
        [
            ("manage_collection", {"action": "create", "name": "notes"}),
            ("index_documents", {"collection": "notes", "documents": documents}),
            ("search", {"collection": "notes", "text": "when do I get my money?", "k": 1}),
        ],
        2,
    ):
        yield {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@pytest.mark.parametrize("where", ["folder", "server"])
async def test_a_server_with_chroma_says_nothing_but_the_protocol(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    postgres_server: PostgresServer,
    chroma_server: ChromaServer,
    where: str,
):
    more = STORE + ('path = "chroma"' if where == "folder" else f'url = "{chroma_server.url}"')
    site = await make_site({"empty": postgres_server.dsn("postgres", await make_database(""))}, more=more)
    command = [sys.executable, "-m", "ostiary", "serve", "--config", str(site.folder / "ostiary.toml")]
    variables = {"PATH": os.environ["PATH"], "HOME": str(site.folder)}
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*command, env=variables, cwd=site.folder, **pipes, limit=2**20)  # type: ignore[arg-type]  # pipes
    assert process.stdin is not None
    assert process.stdout is not None
    said = []
    for call in _calls():
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **call}).encode() + b"\n")
        if "id" in call:
            async with asyncio.timeout(60):
                said.append(json.loads(await process.stdout.readline()))
    process.stdin.close()
    out, err = await ended(process)
    assert out == ""
    assert [reply.get("id") for reply in said] == [1, 2, 3, 4]
    assert not [reply for reply in said if reply["result"].get("isError")]
    assert "refunds" in said[-1]["result"]["content"][0]["text"]
    assert {json.loads(line)["logger"].partition(".")[0] for line in err.splitlines()} <= {"ostiary"}


async def test_how_many_hold_a_word_hides_none_that_does_where_rows_are_withheld(
    chroma_settings: ChromaSettings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(words, "_COMMON", 5)
    store = ChromaStore(chroma_settings)
    collection = new_collection(layout=Layout())
    try:
        await store.create(collection)
        await store.put(collection, [chunk for n in range(20) for chunk in document(f"d{n:02}", f"stone number {n}")])
        found = {alone: await store.matching(collection, "stone", Reach(30, alone=alone)) for alone in (True, False)}
    finally:
        await store.close()
    assert [len(found[alone]) for alone in (True, False)] == [20, 5]
