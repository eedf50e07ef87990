"""The connection over two descriptors: whole lines in, whole texts out, nothing that holds the loop or outlives it."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostiary.wire import Wire


@pytest.fixture
def pipes() -> Iterator[tuple[Wire, int, int]]:
    """A wire, the end that its client writes into and the end that its client reads from."""
    incoming, theirs = os.pipe()
    mine, outgoing = os.pipe()
    yield Wire(incoming, outgoing), theirs, mine
    for number in (incoming, theirs, mine, outgoing):
        try:
            os.close(number)
        except OSError:  # closed by the test
            continue


async def lines(wire: Wire) -> list[str]:
    return [line async for line in wire]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"on", b"e\nt", b"wo\n"], ["one", "two"]),
        ([b"\n\n"], ["", ""]),
        ([b"no end"], ["no end"]),
        ([b"\xe2\x82", b"\xac\n"], ["\u20ac"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([b"a\r\n"], ["a\r"]),
        ([b"x" * 300_000 + b"\n"], ["x" * 300_000]),
        ([], []),
    ],
)
async def test_lines_come_whole_however_they_are_cut(pipes: tuple[Wire, int, int], sent: list[bytes], read: list[str]):
    wire, theirs, _ = pipes
    reading = asyncio.create_task(lines(wire))
    for part in sent:
        await asyncio.to_thread(os.write, theirs, part)
    os.close(theirs)

    assert await reading == read


@pytest.mark.asyncio
async def test_a_file_is_read_like_a_pipe(tmp_path: Path):
    (tmp_path / "asked").write_text("one\ntwo\n")
    with (tmp_path / "asked").open() as asked, (tmp_path / "told").open("w") as told:
        wire = Wire(asked.fileno(), told.fileno())
        assert await lines(wire) == ["one", "two"]
        await wire.write("three\n")

    assert (tmp_path / "told").read_text() == "three\n"


@pytest.mark.asyncio
async def test_a_long_text_waits_for_its_reader_and_others_do_not(pipes: tuple[Wire, int, int]):
    wire, theirs, mine = pipes
    text = "\u20ac" * 200_000
    writing = asyncio.create_task(wire.write(text))
    os.write(theirs, b"meanwhile\n")

    assert await anext(wire) == "meanwhile"
    assert not writing.done()
    taken = b""
    while len(taken) < len(text.encode()):
        taken += await asyncio.to_thread(os.read, mine, 65_536)
    await writing
    assert taken.decode() == text


@pytest.mark.asyncio
async def test_waiting_for_either_side_can_be_cancelled(pipes: tuple[Wire, int, int]):
    wire, _, _ = pipes
    waiting = [asyncio.create_task(lines(wire)), asyncio.create_task(wire.write("x" * 1_000_000))]
    await asyncio.wait(waiting, timeout=0.05)
    for task in waiting:
        task.cancel()

    assert [type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)] == [asyncio.CancelledError] * 2
