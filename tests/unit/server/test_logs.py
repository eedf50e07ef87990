import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import pytest
import structlog

from ostiary import logs

CANARY = "canary-2f81"


class Secretive:
    def __repr__(self) -> str:
        return f"<connection to postgresql://u:{CANARY}@h/d>"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {name: logging.getLogger(name).level for name in (*logs._LIBRARIES, *logs._TOLD_ELSEWHERE)}
    yield
    for name, before in libraries.items():
        logging.getLogger(name).setLevel(before)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_messages_of_ours_and_of_libraries_are_one_json_line_each_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger("ostiary").info("started", rows=3)
    logging.getLogger("asyncpg.pool").warning("slow by %s", 2)
    logging.getLogger("asyncpg.pool").debug("nobody reads this")
    structlog.get_logger("ostiary").debug("nor this")
    captured = capsys.readouterr()
    assert captured.out == ""
    ours, theirs = [json.loads(line) for line in captured.err.splitlines()]
    assert datetime.fromisoformat(ours.pop("timestamp")).tzname() == "UTC"
    assert ours == {"event": "started", "rows": 3, "level": "info", "logger": "ostiary"}
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("slow by 2", "warning", "asyncpg.pool")


@pytest.mark.parametrize("style", ["json", "console", "auto"])
def test_secrets_are_in_no_line(style: Literal["auto", "console", "json"], capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", style)
    log = structlog.get_logger("ostiary")
    dsn = f"postgresql://u:{CANARY}@h/d"
    log.info(f"cannot reach {dsn}", dsn=CANARY, reader_dsn=CANARY, password=CANARY, api_key=CANARY, token=CANARY)  # noqa: G004 the text itself holds the secret
    log.info("nested", config={"a": {"secret": CANARY, "text": [dsn, (dsn,)]}}, thing=Secretive(), items={dsn})
    logging.getLogger("asyncpg").error("lost %s", dsn)
    try:
        int(dsn)
    except ValueError:
        log.exception("failed")
        logging.getLogger("a_tool_pack").exception("failed too")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("Traceback") == 2
    assert captured.err.count("postgresql://u:***@h/d") >= 6
    assert CANARY not in captured.err


def test_configuring_again_replaces_what_was(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.configure("error", "json")
    structlog.get_logger("ostiary").info("quiet")
    structlog.get_logger("ostiary").error("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_library_tells_where_it_failed_and_not_what_a_client_sent(
    style: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("debug", style)
    mcp = logging.getLogger("mcp.server.lowlevel")
    mcp.debug("received %s", CANARY)
    mcp.info("received %s", CANARY)
    logging.getLogger("mcp.server.sse").warning("no session %s", CANARY)
    mcp.warning("two\nlines")
    try:
        int(CANARY)
    except ValueError:
        mcp.exception("cannot read it")
    said = capsys.readouterr().err
    assert CANARY not in said
    assert len(said.splitlines()) == 2
    assert "ValueError at " in said
