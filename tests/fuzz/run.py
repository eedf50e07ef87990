"""Fuzz the judge of SQL: `python tests/fuzz/run.py --minutes 60 --seed 1`.

Guided by the judge's coverage where atheris is installed, blind otherwise. What breaks a
property is kept in a folder, one file a finding; a table is printed at the end.
"""

import argparse
import asyncio
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

if __name__ == "__main__" and importlib.util.find_spec("atheris"):
    import atheris

    with atheris.instrument_imports(include=["ostiary_tools.sql"]):
        import ostiary_tools.sql.judge  # noqa: F401  imported first, to be instrumented

from fix_sql import HIDDEN_COLUMNS, HIDDEN_TABLES
from fuzz.live import Live, corpus, opened, throw_away_server
from fuzz.mutation import mutant
from fuzz.properties import Broken, judged
from gen_queries import generated

from ostiary_tools.errors import Refused

_HARMLESS_RULES = frozenset(
    {"unknown_column", "unknown_table", "printing", "ambiguous", "syntax", "natural", "with", "operator", "collation", "sampling"}
)
"""Refusals that say the statement is wrong: one that the server answers is a false refusal."""
_HIDDEN = re.compile("|".join({*HIDDEN_TABLES, *(name for pair in HIDDEN_COLUMNS for name in pair)}), re.IGNORECASE)
"""Row types that have hidden columns do not exist for the agent, and a hidden name still hides others of the same name."""


@dataclass
class Findings:
    """What was seen, and the folder of what broke."""

    folder: Path
    seen: Counter[str] = field(default_factory=Counter)
    broken: dict[str, str] = field(default_factory=dict)
    """By name and kind of finding: one text each, and what was seen of it."""

    def add(self, name: str, text: str, detail: str) -> None:
        """Keep a finding of a kind not yet met."""
        self.seen[f"BROKEN {name}"] += 1
        key = f"{name}-{hashlib.sha1(detail[:60].encode('utf-8', 'replace')).hexdigest()[:8]}"  # noqa: S324  a name for a file
        if key not in self.broken:
            self.broken[key] = f"{text}\n/* {detail} */"
            path = self.folder / f"{key}.txt"
            path.write_bytes(f"{text}\n\n/* {detail} */\n".encode("utf-8", "surrogatepass"))
            print(f"BROKEN {name}: {path}", flush=True)  # noqa: T201  this is a program

    def table(self) -> str:
        """What was seen, the most frequent first."""
        lines = [f"{count:>10,}  {name}" for name, count in self.seen.most_common()]
        return "\n".join([*lines, f"{len(self.broken):>10,}  kinds of finding in {self.folder}"])


@dataclass
class Fuzzer:
    """One server, two callers, and the statements known so far."""

    live: Live
    findings: Findings
    rng: Random
    known: list[str]
    loop: asyncio.AbstractEventLoop
    files: frozenset[str] = frozenset()

    def one(self, text: str) -> None:
        """Hold one text against every property, for both callers."""
        self.findings.seen["texts"] += 1
        for view, caller in ((self.live.everything, "everything"), (self.live.agent, "agent")):
            try:
                found = judged(text, view)
                if isinstance(found, Refused):
                    self.findings.seen[f"refused: {found.rule}"] += 1
                    if (
                        found.rule in _HARMLESS_RULES
                        and not (caller == "agent" and _HIDDEN.search(text))
                        and self.loop.run_until_complete(self.live.refused(text, view))
                    ):
                        self.findings.add(f"refused-{found.rule}", text, f"{found} ({caller})")
                    continue
                self.findings.seen[f"judged for {caller}"] += 1
                self.loop.run_until_complete(self.live.check(text, found, view))
            except Broken as broken:
                self.findings.add(broken.name, text, f"{broken} ({caller})")
        if self.findings.seen["texts"] % 500 == 0:
            self._check_files(text)

    def blind(self, count: int, seconds: float) -> None:
        """Mutants of the known statements, until so many or so long."""
        end = time.monotonic() + seconds
        for _ in range(count):
            if time.monotonic() > end:
                break
            self.one(mutant(self.rng, self.known, self.rng.choice(self.known)))

    def _check_files(self, text: str) -> None:
        files = self.live.files()
        if self.files and files != self.files:
            self.findings.add("files", text, str(sorted(files ^ self.files)))
        self.files = files


def fuzz(folder: Path, seed: int, drive: Callable[[Fuzzer], None]) -> Findings:
    """Start a server, and let the driver feed the fuzzer. Returns what was found."""
    loop = asyncio.new_event_loop()
    findings = Findings(folder)
    with ExitStack() as stack:
        stack.callback(loop.close)
        server = stack.enter_context(throw_away_server())
        contexts = AsyncExitStack()
        live = loop.run_until_complete(contexts.enter_async_context(opened(server)))
        try:
            texts = corpus() + [
                a.text for a in islice(generated(live.everything.snapshot, seed, without="xml"), 600) if len(a.text) < 3_000
            ]
            drive(Fuzzer(live, findings, Random(seed), texts, loop))  # noqa: S311  it must be repeatable, not secret
            findings.seen.update(live.seen)
        finally:
            loop.run_until_complete(contexts.aclose())
    return findings


def guided(seconds: float) -> Callable[[Fuzzer], None]:
    """A driver that lets libFuzzer choose, by coverage, which statements to mutate further."""

    def drive(fuzzer: Fuzzer) -> None:
        end = time.monotonic() + seconds
        folder = Path(tempfile.mkdtemp(prefix="ostiary-fuzz-"))
        for number, text in enumerate(fuzzer.known):
            (folder / f"{number:05}").write_bytes(text.encode("utf-8", "surrogatepass"))

        def read(data: bytes) -> str:
            return data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace")

        def target(data: bytes) -> None:
            if time.monotonic() > end:
                fuzzer.findings.seen.update(fuzzer.live.seen)
                print(fuzzer.findings.table(), flush=True)  # noqa: T201  libFuzzer leaves without coming back
                fuzzer.live.server.stop("immediate")
                for left in (folder, fuzzer.live.server.root):
                    shutil.rmtree(left, ignore_errors=True)
                os._exit(bool(fuzzer.findings.broken))
            try:
                text = read(data)
            except UnicodeDecodeError:
                return
            fuzzer.one(text)

        def mutate(data: bytes, max_size: int, seed: int) -> bytes:
            try:
                text = read(data)
            except UnicodeDecodeError:
                text = fuzzer.rng.choice(fuzzer.known)
            return mutant(Random(seed), fuzzer.known, text).encode("utf-8", "surrogatepass")[:max_size]  # noqa: S311  repeatable

        arguments = [
            sys.argv[0],
            str(folder),
            "-max_len=20000",
            "-timeout=300",
            "-rss_limit_mb=4000",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        atheris.Setup(arguments, target, custom_mutator=mutate)
        atheris.Fuzz()

    return drive


def main() -> None:
    """Read the arguments, fuzz, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder of what broke")
    parser.add_argument("--blind", action="store_true", help="do not use atheris")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    seconds = options.minutes * 60
    with_coverage = "atheris" in sys.modules and not options.blind
    drive = guided(seconds) if with_coverage else lambda fuzzer: fuzzer.blind(sys.maxsize, seconds)
    found = fuzz(options.keep, options.seed, drive)
    print(found.table())  # noqa: T201  this is a program
    sys.exit(bool(found.broken))


if __name__ == "__main__":
    main()
