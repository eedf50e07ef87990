"""How many files and connections the system lets this process have open at once."""

import logging
import resource
from contextlib import suppress

from ostiary.config.settings import Http

_log = logging.getLogger(__name__)
_BESIDE = 100
"""Files that are no connection of a client: databases, modules, logs."""


def as_many_as_allowed(http: Http) -> None:
    """Raise the bound to the highest that needs no privilege, and warn where `http.connections` is more than that.

    Systems begin with a low one for programs that use `select`; we do not. Processes that are started later have it too.
    """
    _, high = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems name a highest bound that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (high, high))
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and allowed < http.connections + _BESIDE:
        _log.warning("only %d files may be open at once, too few for `http.connections`; raise `ulimit -n`", allowed)
