"""Real Chroma for tests: a folder of it, and a server in a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fix_waiting import until

from ostiary_tools.vectors.settings import ChromaSettings

_RUN = """
import os, sys, threading
from chromadb.cli.cli import app
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # its starter is gone
app()
"""


class ChromaServer:
    """`chroma run` on loopback, on the same port whenever it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is when it runs."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """And wait until it answers."""
        arguments = ["run", "--path", str(self.folder / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *arguments],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        asyncio.run(until(self._answers, 60))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the Chroma server ended by itself"
        with closing(socket.socket()) as asked:
            return asked.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """As a machine does that loses its power."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._process = None


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path_factory.mktemp("chroma_server"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def chroma_server_settings(chroma_server: ChromaServer) -> ChromaSettings:
    return ChromaSettings("tested", url=chroma_server.url)


@pytest.fixture(scope="session")
def chroma_settings(tmp_path_factory: pytest.TempPathFactory) -> ChromaSettings:
    """A folder."""
    return ChromaSettings("tested", path=tmp_path_factory.mktemp("chroma") / "vectors")
