"""SIGHUP: a wish to have the policy files read again, as services understand it; or the end of our terminal."""

import asyncio
import os
import signal
from collections.abc import Callable


def on_hangup(read_again: Callable[[], None]) -> None:
    """Call it for each SIGHUP. That of a terminal that was closed stops us as SIGTERM does: nobody could press Ctrl-C any more."""
    at_terminal = _at_terminal()

    def told() -> None:
        if at_terminal and not _at_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            read_again()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, told)


def _at_terminal() -> bool:
    """Whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
