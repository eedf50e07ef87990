"""What a token's claims say about its bearer: an agent, roles, scopes. Pure; who signed them is known already."""

from collections.abc import Mapping, Sequence
from typing import Any

from ostiary.identity.caller import NotRecognised

_AGENT_CHARS = 200


def agent_in(claims: Mapping[str, Any], name: str) -> str:
    """The agent's name. Raises NotRecognised when it is none."""
    agent = _found(claims, name)
    if not isinstance(agent, str) or not 0 < len(agent) <= _AGENT_CHARS or not agent.isprintable() or agent != agent.strip():
        raise NotRecognised("its claim of the agent is no name")
    return agent


def roles_in(claims: Mapping[str, Any], name: str, roles: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The roles its values stand for, sorted."""
    value = _found(claims, name)
    values = _words(value) if name in ("scope", "scp") else value if isinstance(value, list) else [value]
    return tuple(sorted({role for v in values if isinstance(v, str) for role in roles.get(v, ())}))


def has_scopes(claims: Mapping[str, Any], needed: Sequence[str]) -> bool:
    """Whether the token has all of them in `scope` or `scp`."""
    return set(needed) <= {*_words(claims.get("scope")), *_words(claims.get("scp"))}


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of that very name, which may hold dots, or the one that the dots lead to."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split(" ")
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
