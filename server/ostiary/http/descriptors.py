"""How many files and connections the system lets this process have open at once."""

import resource
from contextlib import suppress


def as_many_as_allowed() -> int:
    """Raise the bound to the highest that needs no privilege; what it is then.

    Systems begin with a low one for programs that use `select`; we do not. Processes that are started later have it too.
    """
    low, high = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems name a highest bound that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (high, high))
        return high
    return low
