"""`ostiary backup keep-wal`: what a server runs as its `archive_command` where it hands its log over by itself.

It asks no database: the server that runs it may be the very one that holds the audit log, and waits for it when it stops. What it
has kept the repository says itself, signed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_options import ConfigOption, configured
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.vault import Vault


def keep_wal(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What the server puts in the place of `%p`.")
    ],
    *,
    datasource: Annotated[str | None, typer.Option("--datasource", help="Whose log it is; needed when there are several.")] = None,
    config: ConfigOption = None,
) -> None:
    """Keep a finished file of a server's write-ahead log, as its `archive_command`.

    It ends with 0 only once the file is in the repository to stay. With any other code the server keeps it and asks again.
    """
    from ostiary.vault import open_vault
    from ostiary_tools.backup.making import not_written
    from ostiary_tools.backup.wal_archive.pushed import Pushed

    vault = open_vault(configured(config), None)
    try:
        Pushed(file, vault.keeping().repository(), _called(vault, datasource)).keep()
    except OSError as error:
        raise not_written(error) from None


def _called(vault: "Vault", datasource: str | None) -> str:
    """As configured."""
    from ostiary.config.combinations import CONTROL

    names = sorted({source.datasource for source in vault.sources} - {CONTROL})
    if datasource is None and len(names) <= 1:
        return names[0] if names else CONTROL
    if datasource not in (*names, CONTROL):
        raise CommandFailed("say whose log it is", f"`--datasource` is one of {', '.join((*names, CONTROL))}", Exit.USAGE)
    return datasource
