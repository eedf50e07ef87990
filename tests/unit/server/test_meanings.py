"""Meanings beside calls: none where the extra is not installed, and letters where they cannot be made."""

import asyncio
import sys
from dataclasses import replace
from typing import cast

import pytest
from fix_meaning import snapshot
from fix_waiting import until

from ostiary.meanings import MeaningsKept
from ostiary_tools.snapshot import Relation, Snapshot

OF = replace(snapshot(), version="of this module")


@pytest.mark.asyncio
@pytest.mark.parametrize("missing", ["numpy", "wordllama"])
async def test_without_the_extra_nothing_is_made(monkeypatch: pytest.MonkeyPatch, missing: str):
    monkeypatch.setitem(sys.modules, missing, None)
    assert MeaningsKept().of(OF) is None
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.asyncio
async def test_they_are_there_later_for_that_version_alone():
    kept = MeaningsKept()
    assert kept.of(OF) is None
    await until(lambda: kept.of(OF) is not None)
    changed = replace(OF, version="another")
    assert kept.of(changed) is None
    await until(lambda: kept.of(changed) is not None)
    assert kept.of(OF) is None


@pytest.mark.asyncio
async def test_what_cannot_be_made_is_told_once_and_not_tried_again(caplog: pytest.LogCaptureFixture):
    kept = MeaningsKept()
    broken: Snapshot = replace(OF, relations=cast("dict[tuple[str, str], Relation]", None), version="broken")
    assert kept.of(broken) is None
    await until(lambda: bool(caplog.messages))
    for _ in range(3):
        assert kept.of(broken) is None
        await asyncio.sleep(0)
    assert caplog.messages == ["the schema of `data` is searched by letters alone: its meanings cannot be made"]
