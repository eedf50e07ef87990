"""An agent as the command line names one: by roles, a name and attributes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_options import one_line
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary_policies.attributes import Attribute, AttributeType
    from ostiary_policies.model import Principal

RolesOption = Annotated[list[str] | None, typer.Option("--role", help="A role of the agent; may be repeated.")]
AgentOption = Annotated[str | None, typer.Option("--agent", help="The agent's name; else the configured one.")]
ValuesOption = Annotated[
    list[str] | None,
    typer.Option("--attribute", metavar="NAME=VALUE", help="An attribute of the agent, instead of its own; may be repeated."),
]


def caller(loaded: "Config", roles: list[str] | None, agent: str | None, attribute: list[str] | None) -> "Principal":
    """The agent of these options; what they do not say is as configured."""
    from ostiary.identity.principals import configured_principal

    who = configured_principal(agent or loaded.agent.name, tuple(roles or (loaded.agent.role,)), loaded.attributes)
    return replace(who, attributes=_attributes(attribute, loaded.attribute_types)) if attribute else who


def _attributes(written: Iterable[str], declared: "Mapping[str, AttributeType]") -> "tuple[Attribute, ...]":
    from ostiary_policies.attributes import attribute

    found = {}
    for name, _, text in (one.partition("=") for one in written):
        if name not in declared:
            known = ", ".join(f"`{known}`" for known in declared) or "none"
            raise CommandFailed(f"`{one_line(name)}` is no attribute of the configuration", f"there are {known}", Exit.USAGE)
        try:
            found[name] = attribute(name, declared[name], _read(declared[name], text))
        except ValueError as error:
            raise CommandFailed(str(error), code=Exit.USAGE) from None
    return tuple(found[name] for name in sorted(found))


def _read(type_: "AttributeType", text: str) -> object:
    """The text of an option as the value it stands for; what does not read as one stays text, which is of no other type."""
    match type_.value:
        case "integer" if re.fullmatch(r"-?[0-9]{1,19}", text):
            return int(text)
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
        case "texts":
            return [item.strip() for item in text.split(",") if item.strip()]
    return text
