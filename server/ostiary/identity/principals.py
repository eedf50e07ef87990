"""Who is calling, from facts of the transport and the configuration and never from arguments."""

from collections.abc import Mapping

from ostiary.config.callers import Attribute as Configured
from ostiary_policies.attributes import Attribute, AttributeType, attribute
from ostiary_policies.model import Principal


def configured_principal(agent: str, roles: tuple[str, ...], attributes: Mapping[str, Configured]) -> Principal:
    """An agent whose attributes stand in the configuration, because it brings no claims."""
    return Principal(agent, tuple(sorted(set(roles))), given(agent, attributes))


def given(agent: str, attributes: Mapping[str, Configured]) -> tuple[Attribute, ...]:
    """The attributes that the configuration gives the agent, sorted by name."""
    found = ((name, AttributeType(one.type), one.agents[agent]) for name, one in attributes.items() if agent in one.agents)
    return tuple(attribute(*each) for each in sorted(found, key=lambda each: each[0]))
