"""What a server process holds does not grow with the calls it answers."""

import asyncio
import json
import signal
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fix_http import serving
from fix_waiting import until

from ostiary.config import Config

VERSION = "2026-07-28"
AGENTS = 16
ROUND = 10_000
FEW = 1_000
"""Objects that may be more after a round than before it: one for each call would be ten times as many."""

COUNTING = """
import gc, os, signal, sys

def count(*_):
    gc.collect()
    with open(os.environ["COUNTED"] + ".new", "w") as file:
        file.write(f"{len(gc.get_objects())} {sys.getallocatedblocks()}")
    os.rename(file.name, os.environ["COUNTED"])

signal.signal(signal.SIGUSR1, count)
"""


def request(tool: str, arguments: dict[str, str]) -> bytes:
    named = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
    meta = {**named, "io.modelcontextprotocol/clientInfo": {"name": "many", "version": "1"}}
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nMCP-Protocol-Version: {VERSION}\r\n"
    head += "Accept: application/json, text/event-stream\r\n"
    return f"{head}MCP-Method: tools/call\r\nMCP-Name: {tool}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def agent(url: str, asked: bytes, times: int) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for _ in range(times):
        writer.write(asked)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0]))
    writer.close()
    await writer.wait_closed()


async def counted(process: asyncio.subprocess.Process, file: Path) -> tuple[int, int]:
    """Containers and blocks that the process holds, once nothing is on its way."""
    await asyncio.to_thread(file.unlink, missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    await until(file.exists)
    containers, blocks = map(int, (await asyncio.to_thread(file.read_text)).split())
    return containers, blocks


@pytest.mark.slow
@pytest.mark.parametrize(("tool", "arguments"), [("whoami", {}), ("query", {"sql": "select count(*) from categories"})])
@pytest.mark.asyncio
async def test_twenty_thousand_calls_leave_nothing_behind(
    ostiary_config: Config, tmp_path: Path, tool: str, arguments: dict[str, str]
):
    (tmp_path / "sitecustomize.py").write_text(COUNTING)
    file = tmp_path / "counted"
    async with serving(ostiary_config, PYTHONPATH=str(tmp_path), COUNTED=str(file)) as (url, process):
        held = []
        for _ in range(3):  # the first round fills what is kept on purpose
            await asyncio.gather(*(agent(url, request(tool, arguments), ROUND // AGENTS) for _ in range(AGENTS)))
            held.append(await counted(process, file))

    # The lesser of both: once in a while a snapshot of the schema is read anew, which moves the number once.
    assert min(later[0] - earlier[0] for earlier, later in pairwise(held)) < FEW, held
    assert min(later[1] - earlier[1] for earlier, later in pairwise(held)) < FEW, held
