"""A server process that is reached over HTTP."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator

from fix_waiting import ended
from prometheus_client.parser import text_string_to_metric_families

from ostiary.config import Config


@contextlib.asynccontextmanager
async def serving(config: Config, *options: str, **environment: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A server process on a free port, and its address. Unless the test kills it, it must end well when asked to."""
    places = {f"OSTIARY_HOME__{part.upper()}": str(getattr(config.home, part)) for part in ("data", "state")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", "serve", "--http", "--port", "0", *options),
        env={"PATH": os.environ["PATH"], **places, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None  # a pipe was asked for; only its type does not say so
    try:
        async with asyncio.timeout(60):
            while (found := re.search(r"http://[^/]+/mcp", (line := await process.stderr.readline()).decode())) is None:
                assert line, "the server ended before it listened"
        draining = asyncio.create_task(process.stderr.read())
        yield found[0], process
        killed = process.returncode == -signal.SIGKILL
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0 or killed
            await draining  # a worker that outlived it would hold the pipe
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ostiary(config: Config, *arguments: str, expected: int = 0) -> str:
    """What a command prints on stdout."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", *arguments),
        env={"PATH": os.environ["PATH"], **{f"OSTIARY_HOME__{p.upper()}": str(getattr(config.home, p)) for p in ("data", "state")}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await ended(process)
    assert process.returncode == expected, err
    return out.strip()


def samples(page: str) -> dict[tuple[str, ...], float]:
    """Of a page of metrics: (name, label values in order of their names …) → value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
