"""`ostiary worker`: do the long work that servers were asked for."""

import os
from typing import Annotated

import typer

from ostiary.cli_options import ConfigOption, configured


def worker(
    config: ConfigOption = None,
    detached: Annotated[bool, typer.Option("--detached", hidden=True)] = False,
) -> None:
    """Run the jobs that wait, until a signal asks to stop; what is not done then is another worker's.

    Several may run for one control database. A server starts one itself when a job waits and there is none.
    """
    if detached and os.fork():
        os._exit(0)  # who started us has waited for this, and the worker is nobody's child
    loaded = configured(config)
    import structlog
    import uvloop

    from ostiary.serve import serve_jobs

    idle_s = loaded.jobs.idle_s if detached else None
    uvloop.run(serve_jobs(loaded, structlog.get_logger("ostiary").info, idle_s))
