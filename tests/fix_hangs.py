"""No test hangs the run: one that does fails with its stack; a process in which even that fails says where it stood, and ends."""

import faulthandler
import os
from collections.abc import Generator, Sequence
from typing import Any

import pytest

_LONG_S = 1500
"""For a test of the tiers `slow` and `fault`; the others have what pyproject.toml says."""
_GRACE_S = 60
"""The failure of a test that hangs is raised in it. It may be swallowed there, or find a call that nothing interrupts."""
_END_S = 120
"""From the last test to the end of its process: threads and programs that were left running must not hold it."""
_settings = pytest.StashKey[Any]()
_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the stream that people see; while a test runs it is captured."""
    config.stash[_stderr] = os.dup(2)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Give tests of the long tiers more time, but for those that say themselves how long they may take."""
    for item in items:
        tiers = {mark.name for mark in item.iter_markers()}
        if tiers & {"slow", "fault"} and "timeout" not in tiers:
            item.add_marker(pytest.mark.timeout(_LONG_S))


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, object, object]:
    """With the timer that fails the test goes one that ends the process."""
    item.stash[_settings] = settings
    faulthandler.dump_traceback_later(settings.timeout + _GRACE_S, exit=True, file=item.config.stash[_stderr])
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_timeout_cancel_timer() -> Generator[None, object, object]:
    """Both are gone together."""
    faulthandler.cancel_dump_traceback_later()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Give what a test leaves behind as much time again: a test that failed has no timer any more."""
    if _settings in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[_settings])


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Bound the end of the process, which no test's timer covers."""
    faulthandler.dump_traceback_later(_END_S, exit=True, file=session.config.stash[_stderr])
