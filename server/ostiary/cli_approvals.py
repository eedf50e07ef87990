"""`ostiary approvals list | show | grant | refuse`: calls that wait for people, and what these say to them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ostiary.cli_administered import account_name, administered, looked_at
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary_tools.control.people import PeopleTable, Waiting

T = TypeVar("T")

app = typer.Typer(help="See the calls that wait for people, and grant or refuse them.", no_args_is_help=True)

_WHAT = "approvals"
Id = Annotated[str, typer.Argument(metavar="ID", help="As `ostiary approvals list` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before it is done.")]


@app.command("list", epilog="Example: ostiary approvals list --json")
def list_(*, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Show the calls that wait: whose they are, how many people have granted each, and until when it stands."""
    found = _waiting(configured(config))
    if json_:
        print_json([_plain(one) for one in found])
        return
    for one in found:
        typer.echo(one_line(f"{one.id}  {_call(one)}  {_state(one)}, until {one.expires_at:%Y-%m-%d %H:%M %Z}"))
    if not found:
        say("no call waits for people")


@app.command(epilog="Example: ostiary approvals show k3v7qa2m")
def show(id_: Id, *, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Show all that a person must know who is to grant a call: what would run, for whom, and by which rules."""
    one = _found(configured(config), id_)
    if json_:
        print_json(_plain(one))
        return
    typer.echo(_shown(one))


@app.command(epilog="Example: ostiary approvals grant k3v7qa2m")
def grant(id_: Id, *, yes: Yes = False, config: ConfigOption = None) -> None:
    """Say yes to a call, as whoever the system says you are; the same account counts once."""
    loaded, person = configured(config), account_name()
    one = _found(loaded, id_)
    if one.refused_by:
        raise CommandFailed(
            f"it was refused by {one_line(one.refused_by)}", "a refused call is asked about anew when it comes again"
        )
    if person in one.granted_by:
        raise CommandFailed(f"{one_line(person)} has granted it already", "another person may")
    _confirm(one, f"Grant it as {one_line(person)}?", yes=yes)

    async def act(table: "PeopleTable", recorder: "Recorder") -> bool:
        # On record before it can be used, with the digest of what was on this screen and of no other question.
        await recorder.note("approval_granted", _told(one, person))
        return await table.grant(one.id, person, _digest(one))

    if not _with_people(loaded, act):
        raise CommandFailed("it waits no longer", "see `ostiary approvals list`")
    left = one.people - len(one.granted_by) - 1
    say("granted: the agent may call it again" if left <= 0 else "granted; it waits for another person")


@app.command(epilog="Example: ostiary approvals refuse k3v7qa2m")
def refuse(id_: Id, *, yes: Yes = False, config: ConfigOption = None) -> None:
    """Say no to a call, also to one that was granted and has not run; its agent is told so."""
    loaded, person = configured(config), account_name()
    one = _found(loaded, id_)
    _confirm(one, f"Refuse it as {one_line(person)}?", yes=yes)

    async def act(table: "PeopleTable", recorder: "Recorder") -> bool:
        done = await table.refuse(one.id, person)
        # After it: a log that does not answer must not keep a call open that was refused.
        if done:
            await recorder.note("approval_refused", _told(one, person))
        return done

    if not _with_people(loaded, act):
        raise CommandFailed("it waits no longer", "see `ostiary approvals list`")
    say("refused")


def _found(config: "Config", id_: str) -> "Waiting":
    if (one := next((one for one in _waiting(config) if one.id == id_), None)) is None:
        raise CommandFailed(f"no call waits for people as `{one_line(id_)}`", "see `ostiary approvals list`")
    return one


def _waiting(config: "Config") -> "Sequence[Waiting]":
    from ostiary_tools.control.people import PeopleTable

    return looked_at(config, PeopleTable, _WHAT, lambda table: table.waiting())


def _with_people(config: "Config", act: "Callable[[PeopleTable, Recorder], Awaitable[T]]") -> T:
    from ostiary_tools.control.people import PeopleTable

    return administered(config, PeopleTable, _WHAT, act)


def _confirm(one: "Waiting", question: str, *, yes: bool) -> None:
    typer.echo(_shown(one))
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _shown(one: "Waiting") -> str:
    """As the agent's side was never able to write it: what is not seen as itself stands as its number."""
    from ostiary.consent import seen

    lines = [seen(line) for line in one.question.split("\n")]
    return "\n".join([*lines, "", f"{seen(_state(one))}, until {one.expires_at:%Y-%m-%d %H:%M %Z}"])


def _state(one: "Waiting") -> str:
    if one.refused_by:
        return f"refused by {one.refused_by}"
    granted = f"granted by {', '.join(one.granted_by)}" if one.granted_by else "granted by nobody"
    return f"{granted}, of {one.people} {'person' if one.people == 1 else 'people'}"


def _call(one: "Waiting") -> str:
    place = f" on {one.datasource}" if one.datasource else ""
    return f"{one.agent} ({', '.join(one.roles) or 'no role'})  {one.tool}{place}"


def _digest(one: "Waiting") -> str:
    from ostiary.people import digest

    return digest(one.question)


def _told(one: "Waiting", person: str) -> Mapping[str, object]:
    return {
        "approval": one.id,
        "person": person,
        "agent": one.agent,
        "tool": one.tool,
        "question": _digest(one),
        "about": one.about,
    }


def _plain(one: "Waiting") -> dict[str, Any]:
    fields = {name: value for name, value in asdict(one).items() if name not in ("about", "shown")}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
