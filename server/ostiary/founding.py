"""A repository of backups as a person begins it: its keys, where each of them lies, and that the recovery key was seen to work.

The recovery key is written once, to a file that the person takes away, and is proven by what that file holds. Nothing of it stays
here. Whoever makes it elsewhere gives the public part, and proves the key by what it alone can read.
"""

import os
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ostiary.cli_options import one_line
from ostiary.config import Config
from ostiary.exits import CommandFailed, Exit
from ostiary.vault import Vault
from ostiary_tools.backup.keys import Identity, new_identity, parsed_recipient, read_identities
from ostiary_tools.backup.repository import Repository, initialise, open_repository
from ostiary_tools.backup.sealing import load_signer, pin, pinned, read_secret, write_secret
from ostiary_tools.errors import Refused, Unavailable

_KEY = """\
# The recovery key of the backups in {place}
# Keep it away from that machine. Whoever has it reads them; without it and that machine nobody does.
# public key: {recipient}
{text}
"""
_ELSEWHERE = "name one on what you take away, such as a stick"


@dataclass(frozen=True, slots=True)
class Begun:
    """A repository that is there now."""

    place: str
    """Where it is."""
    operational: str
    """The public key of this installation."""
    recovery: str
    probe: str
    """What the recovery key is proven by, base64 of an age file; empty where it is proven."""


def vacant(vault: Vault) -> None:
    """Raises Refused where a repository was begun already."""
    if vault.signing_key.exists() and "repository.json" in vault.storage().names(""):
        hint = "backups are made into it; another one takes another `backup.repository` and `home.state`"
        raise Refused("repository", f"there is a repository in `{vault.where}` already", hint)


def key_place(file: Path, config: Config) -> Path:
    """Where the recovery key may be written. Raises CommandFailed."""
    place = Path(os.path.abspath(file))  # noqa: PTH100 - a link in its place is not followed, it must not exist
    if os.path.lexists(place):
        raise CommandFailed(f"`{file}` is there already", "a recovery key is written to a new file", Exit.USAGE)
    if not place.parent.is_dir():
        raise CommandFailed(f"there is no folder `{place.parent}`", _ELSEWHERE, Exit.USAGE)
    parent = place.parent.resolve()
    for folder in (config.home.data, config.home.state, config.backup_folder, config.restore_folder):
        if parent.is_relative_to(folder.resolve()):
            raise CommandFailed(f"a recovery key in `{folder}` would be lost with this installation", _ELSEWHERE, Exit.USAGE)
    return place


def begin(vault: Vault, file: Path) -> Begun:
    """With a recovery key that is written to the file. Blocking. Raises ToolError, CommandFailed; then there is no such file."""
    made = new_identity()
    _write(file, _KEY.format(place=one_line(vault.where), recipient=made.recipient, text=made.text))
    try:
        written = _as_written(file, made)
        begun = begin_for(vault, made.recipient)
    except BaseException:
        with suppress(OSError):
            file.unlink()
        raise
    # By the file, and not by what was meant to be in it.
    _opened(vault).prove(written)
    return replace(begun, probe="")


def begin_for(vault: Vault, recipient: str) -> Begun:
    """With a recovery key that lies elsewhere already; nothing is backed up before it is proven. Blocking. Raises ToolError."""
    vacant(vault)
    recovery, signer, own = parsed_recipient(recipient), load_signer(vault.signing_key), _own(vault)
    made = initialise(vault.storage(), signer, own.recipient, recovery)
    pin(vault.pin, made.id)
    return Begun(vault.where, made.operational, made.recovery, made.probe.sealed)


def prove(vault: Vault, given: Path | str) -> Repository:
    """By the file of the recovery key, or by what the probe held in base64. Blocking. Raises CommandFailed where it is not that."""
    repository = _opened(vault)
    right = repository.prove(read_key(given)) if isinstance(given, Path) else repository.prove_by(_decoded(given))
    if not right:
        hint = f"the repository's recovery key is that of {repository.description.recovery}"
        raise CommandFailed("this is not the recovery key of the backups" if isinstance(given, Path) else
                            "this is not what the probe holds", hint)  # fmt: skip
    return repository


def read_key(file: Path) -> tuple[Identity, ...]:
    """The keys in a file that a person names; on what is carried about, modes mean little. Raises CommandFailed and Unavailable."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise CommandFailed(f"the key `{file}` cannot be read", "look whether it is there, and whose it is") from None
    return read_identities(text)


def _own(vault: Vault) -> Identity:
    """The operational key: as configured, or in a file of this installation, which is made."""
    if vault.identity is not None:
        return read_identities(vault.identity.get_secret_value())[0]
    if not vault.identity_file.exists():
        vault.identity_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(vault.identity_file, new_identity().text)
    return read_identities(read_secret(vault.identity_file))[0]


def _opened(vault: Vault) -> Repository:
    if not vault.signing_key.exists():
        raise Unavailable("there is no repository of backups yet", "begin it with `ostiary backup init`")
    signer = load_signer(vault.signing_key)
    return open_repository(vault.storage(), signer.seal, signer, pinned=pinned(vault.pin))


def _as_written(file: Path, made: Identity) -> tuple[Identity, ...]:
    """What the file holds. Raises CommandFailed where it is not that key."""
    written = read_key(file)
    if written != (made,):
        raise CommandFailed(f"`{file}` does not hold the key that was written to it", "name one on another medium")
    return written


def _write(file: Path, text: str) -> None:
    """Whole and durable, or not at all; a link is not followed and nothing is overwritten."""
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritten(file, error) from None
    try:
        with os.fdopen(opened, "w", encoding="utf-8", errors="replace") as sink:
            sink.write(text)
            sink.flush()
            os.fsync(sink.fileno())
    except OSError as error:
        with suppress(OSError):
            file.unlink()
        raise _unwritten(file, error) from None


def _unwritten(file: Path, error: OSError) -> CommandFailed:
    return CommandFailed(f"cannot write `{file}`: {(error.strerror or 'failed').lower()}", code=Exit.USAGE)


def _decoded(answer: str) -> bytes:
    try:
        return b64decode("".join(answer.split()), validate=True)
    except ValueError:
        raise CommandFailed("this is no base64", "give what the command of `ostiary backup init` printed", Exit.USAGE) from None
