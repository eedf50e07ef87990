"""Follows the owner's policy files while the server runs: a valid set takes the place of the old one, any other is told and left.

The files are read again every second, whole: they are small, and that is right where the kernel's notices are
silent (network shares, volumes of containers) and where size and time of a file are the same after an edit. What is seen
in two looks that follow each other is taken, so that half a copy is not. Each process follows them by itself and records
by itself what it decides by from then on: its own stream of the audit log is complete without the others.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.fit import Fit, fit, versions
from ostiary.own_thread import answered
from ostiary.policy_files import Found, Policies
from ostiary.redaction import one_line
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError, Problem
from ostiary_policies.rows import NO_RULES, RowRules
from ostiary_tools.datasources.port import Datasource
from ostiary_tools.sql.row_rules import Findings

_log = logging.getLogger(__name__)

LOOK_S = 1.0
_PATIENCE_S = 10.0
"""For the file system; after that it is told, and waited for."""
_TOLD = 20
"""Problems of one set that are logged and recorded."""
_TOLD_CHARS = 500
_UNJUDGED = Problem("policies", 0, "", "they could not be judged; the log has more")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Files that are not in force, and what they were held against: row rules that do not fit a schema may fit it later."""

    found: Found
    words: str
    rules: RowRules
    versions: Mapping[str, str]
    """Of the schemas that the rules did not fit."""


class PolicyWatch:
    """What was seen of the files, and what was made of it."""

    def __init__(self, policies: Policies, recorder: Recorder, datasources: Mapping[str, Datasource]) -> None:
        self._policies = policies
        self._recorder = recorder
        self._datasources = datasources
        self._asked = asyncio.Event()
        self._refused: _Refusal | None = None

    def ask(self) -> None:
        """Look now, and take what is there as meant, also where a file is gone."""
        self._asked.set()

    async def run(self) -> None:
        """Follow the files for ever."""
        before: Found | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            found, in_force = await self._look()
            if asked or found == before:
                try:
                    await self._consider(found, in_force=in_force, asked=asked)
                except RecordingFailed as error:
                    # Neither taken nor forgotten: the next look comes back to it.
                    self._policies.refused = f"the change cannot be recorded: {error}"
            before = found

    async def _look(self) -> tuple[Found, bool]:
        """What is there, and whether that is what is in force."""

        def untold() -> None:
            self._policies.refused = f"nobody knows, because their directory has not answered for {_PATIENCE_S:g} seconds"
            _log.warning("the policy files cannot be read: their directory has not answered for %g seconds", _PATIENCE_S)

        return await answered("policy files", self._seen, _PATIENCE_S, untold)

    def _seen(self) -> tuple[Found, bool]:
        found = self._policies.look()
        return found, self._policies.in_force(found)

    async def _consider(self, found: Found, *, in_force: bool, asked: bool) -> None:
        """Take the set if it is another and valid. Raises RecordingFailed, and then it is not taken."""
        if in_force:
            if self._policies.refused:
                _log.info("the policy files are what is in force again")
            self._refused, self._policies.refused = None, ""
        elif self._refused is not None and self._refused.found == found and not asked and await self._stands(self._refused):
            self._policies.refused = self._refused.words
        else:
            cause = "signal" if asked else "files"
            try:
                engine = await asyncio.to_thread(self._judged, found, asked=asked)
            except PolicyError as error:
                await self._refuse(found, error.problems, cause)
                return
            live = await self._held(engine.policies.row_rules)
            if live.findings.problems:
                await self._refuse(found, live.findings.problems, cause, engine.policies.row_rules, live.versions)
            else:
                await self._take(engine, cause)

    async def _stands(self, refusal: _Refusal) -> bool:
        """Whether the same would be said again; what cannot be looked at any more is as it was."""
        return (await versions(refusal.rules, self._datasources)).items() <= refusal.versions.items()

    async def _held(self, rules: RowRules) -> Fit:
        """Row rules against the schemas as they are now. A table whose schema cannot be looked at is closed if they do not fit."""
        try:
            found = await fit(rules, self._datasources)
        except Exception:  # noqa: BLE001 as above: a set that cannot be judged is not in force
            _log.exception("row rules could not be held against their tables")
            return Fit(Findings((_UNJUDGED,), ()), {}, {})
        for name, why in found.unseen.items():
            _log.warning("row rules about `%s` are not held against it: %s", name, why)
        return found

    def _judged(self, found: Found, *, asked: bool) -> Engine:
        try:
            engine = self._policies.judged(found)
        except PolicyError:
            raise
        except Exception as error:
            # A defect of ours or of Cedar's: whatever it is, such a set is not in force.
            _log.exception("policy files could not be judged")
            raise PolicyError((_UNJUDGED,)) from error
        if not asked and (lost := tuple(_lost(self._policies.engine, engine))):
            raise PolicyError(lost)
        return engine

    async def _take(self, engine: Engine, cause: str) -> None:
        before = self._policies.engine.policy_hash
        await self._recorder.note("policy_changed", {"before": before, "policy": engine.policy_hash, "cause": cause})
        self._policies.put_in_force(engine)
        self._refused = None
        _log.info("other policies are in force: %s, instead of %s", engine.policy_hash, before)

    async def _refuse(
        self,
        found: Found,
        problems: tuple[Problem, ...],
        cause: str,
        rules: RowRules = NO_RULES,
        seen: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        told = [one_line(str(problem))[:_TOLD_CHARS] for problem in problems[:_TOLD]]
        more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
        self._policies.refused = f"{told[0]}{more}"
        for problem in told:
            _log.warning("the policy files are refused, and the policies before stay in force: %s", problem)
        in_force = self._policies.engine.policy_hash
        await self._recorder.note("policy_refused", {"policy": in_force, "problems": told, "count": len(problems), "cause": cause})
        self._refused = _Refusal(found, self._policies.refused, rules, seen)


@asynccontextmanager
async def watching(policies: Policies, recorder: Recorder, datasources: Mapping[str, Datasource]) -> AsyncIterator[PolicyWatch]:
    """Follow the files while the block lasts. A defect ends the block: files that nobody follows are not passed off as followed."""
    watch = PolicyWatch(policies, recorder, datasources)
    if policies.directory is None:
        yield watch
        return
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(watch.run(), name="policy files")
        try:
            yield watch
        finally:
            following.cancel()


def _lost(before: Engine, after: Engine) -> Iterator[Problem]:
    """Files in force that are gone or empty, and whose policies are in no other file.

    That may be a mishap, and what is gone may have been a `forbid`: it must be meant.
    """
    held: dict[str, list[str]] = {}
    for policy in before.policies.policies.values():
        held.setdefault(policy.file, []).append(policy.id)
    there = {policy.file for policy in after.policies.policies.values()}
    for file, ids in held.items():
        gone = [name for name in ids if name not in after.policies.policies]
        if gone and file not in there:
            named = ", ".join(f"`{name}`" for name in gone[:3]) + (" …" if len(gone) > 3 else "")  # noqa: PLR2004 - the bound beside it
            yield Problem(file, 0, "", f"it is gone or empty, and {named} with it", "if that is meant, send SIGHUP or start anew")
