"""The page of a report in a real browser: it fits, it heeds the reader's colours, and the browser refuses nothing of it."""

import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from fix_recovery import eventful

from ostiary.recovery.judging import report
from ostiary.recovery.page import page

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="the package `chromium` is not installed")]
MEASURE = """
<iframe id="it" src="report.html" style="width: {width}px; height: 600px; border: 0"></iframe>
<script>
it.onload = () => {{
  const made = it.contentDocument, root = made.documentElement;
  document.title = JSON.stringify([root.scrollWidth, root.clientWidth, made.querySelectorAll("svg.timeline path").length]);
}};
</script>
"""


def browse(folder: Path, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open it in a browser of its own."""
    words = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", *options)
    command = [str(CHROMIUM), *words, f"--user-data-dir={folder / 'browser'}", file.as_uri()]
    return subprocess.run(command, text=True, capture_output=True, timeout=240, check=True)


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    file = tmp_path / "report.html"
    file.write_text(page(report(eventful())), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_it_fits_and_is_drawn_at_any_width(opened: Path, tmp_path: Path, width: int):
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(MEASURE.format(width=width))
    done = browse(tmp_path, wrapper, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom")
    found = re.search(r"<title>\[(\d+),(\d+),(\d+)\]</title>", done.stdout)
    assert found, done.stdout
    whole, seen, marks = map(int, found.groups())
    assert whole <= seen == width
    assert marks > 40


def test_the_browser_refuses_nothing_of_it_and_shows_the_readers_colours(opened: Path, tmp_path: Path):
    papers = []
    for dark in (1, 0):
        picture = tmp_path / f"{dark}.png"
        options = (f"--blink-settings=preferredColorScheme={dark}", "--window-size=600,400", f"--screenshot={picture}")
        done = browse(tmp_path, opened, *options)
        assert "CONSOLE" not in done.stderr, done.stderr
        papers.append(first_pixel(picture))
    assert papers == [(0xFC, 0xFC, 0xFA), (0x16, 0x18, 0x1A)]


def first_pixel(file: Path) -> tuple[int, ...]:
    """Of a PNG: in its first line every filter leaves the first pixel as it is."""
    data, at, packed = file.read_bytes(), 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        packed += data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return tuple(zlib.decompress(packed)[1:4])
