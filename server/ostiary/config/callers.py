"""The part of the table that says how callers over HTTP are recognised."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator

from ostiary.config.section import Name, Section, matching, not_empty, setting
from ostiary_policies.attributes import usable
from ostiary_policies.entities import ATTRIBUTES

Way = Annotated[str, matching("oauth|tokens|proxy", "`oauth`, `tokens` or `proxy`")]
Algorithm = Annotated[
    str, matching("(RS|PS|ES)(256|384|512)|EdDSA", "an asymmetric algorithm such as `RS256`, `PS256`, `ES256` or `EdDSA`")
]


def https_url(url: str) -> str:
    """The URL, of a server elsewhere or on this machine. Raises ValueError."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("is no valid URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("must be an `https://` URL; `http://` only for addresses of this machine")
    if not host or "@" in parts.netloc or "#" in url or "?" in url:
        raise ValueError("must be a URL of host and path, without user, query and fragment")
    return url


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach, or be, `host`; a name other than `localhost` is taken for somewhere else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_in(text: str) -> str:
    """The host in an entry of `http.hosts` or `http.origins`, without port; empty where there is none."""
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""


def _network(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError("must be addresses or networks such as `10.0.0.0/8`, host bits zero") from None
    if not network.prefixlen:
        raise ValueError("must be the addresses of the proxy; any address would be one")
    return text


def _attribute_name(name: str) -> str:
    if not usable(name) or name in ATTRIBUTES:
        raise ValueError(
            "must be lower-case letters, digits and `_`, a letter first, and no attribute of a resource or word of Cedar"
        )
    return name


AttributeName = Annotated[str, AfterValidator(_attribute_name)]
Network = Annotated[str, AfterValidator(_network)]
Header = Annotated[str, matching(r"[A-Za-z][A-Za-z0-9-]{0,62}", "the name of a header")]
Url = Annotated[str, AfterValidator(https_url)]


class OAuth(Section):
    """Access tokens of an identity provider, where `http.authentication` names `oauth`. They are JSON Web Tokens (RFC 9068)."""

    issuer: Url | None = setting(
        None, "The provider, exactly as its tokens name it in `iss`.", example="https://login.example.com/realms/data"
    )
    resource: Url | None = setting(
        None, "The address clients reach this server by; tokens must be meant for it.", example="https://db.example.com/mcp"
    )
    audience: str | None = setting(
        None,
        "What stands in `aud` where the provider writes something else than `resource`.",
        min_length=1,
        shown="oauth.resource",
        example="api://ostiary",
    )
    jwks_url: Url | None = setting(
        None,
        "Where the provider's keys are.",
        shown="what the provider's metadata names",
        example="https://login.example.com/realms/data/keys",
    )
    algorithms: Annotated[tuple[Algorithm, ...], AfterValidator(not_empty)] = setting(
        ("RS256", "PS256", "ES256", "EdDSA"), "The signatures that are accepted."
    )
    scopes: tuple[str, ...] = setting((), "Scopes a token must have, all of them.", example=("ostiary",))
    agent_claim: str = setting("sub", "The claim that names the agent; one that its bearer cannot choose.", min_length=1)
    roles_claim: str = setting(
        "roles", "The claim that decides the roles; a dot leads into an object, as in `realm_access.roles`.", min_length=1
    )
    roles: Mapping[str, tuple[Name, ...]] = setting(
        {},
        "The roles each value of `roles_claim` stands for. A caller without any is refused.",
        example={"data-analysts": ("analyst",)},
    )
    leeway_s: int = setting(30, "How far the provider's clock may be off.", unit="seconds", ge=0, le=300)


class Tokens(Section):
    """Tokens that `ostiary tokens create` makes, where `http.authentication` names `tokens`."""

    cache_s: float = setting(
        5.0,
        "How long a token is believed without asking again; a revocation acts within it.",
        unit="seconds",
        ge=0,
        le=60,
    )


class Proxy(Section):
    """A proxy in front. Where `http.authentication` names `proxy` it checks certificates; `[certificates.<name>]` says whose."""

    addresses: tuple[Network, ...] = setting(
        (),
        "Where the proxy's connections come from. Its header, and the sender in `X-Forwarded-For`, are believed from there alone.",
        example=("10.0.0.7",),
    )
    header: Header = setting("X-Client-Subject", "The header in which it writes the subject of a certificate it has verified.")


class Certificate(Section):
    """A client certificate; `<name>` is the agent it stands for."""

    subject: str = setting(
        ..., "Its subject, letter for letter as the proxy writes it.", example="CN=nightly,O=Example", min_length=1
    )
    roles: Annotated[tuple[Name, ...], AfterValidator(not_empty)] = setting(..., "The agent's roles.", example=("analyst",))


class Attribute(Section):
    """An attribute of agents that policies may ask for; `<name>` is what they call it. An agent may lack it."""

    type: Literal["text", "integer", "boolean", "texts"] = setting(..., "What its values are; `texts` is a set.", example="text")
    claim: str | None = setting(
        None,
        "The claim of an access token that holds it. One of another type refuses the caller; a dot leads into an object.",
        example="region",
        min_length=1,
    )
    agents: Mapping[Name, str | int | bool | tuple[str, ...]] = setting(
        {},
        "Its values for agents that bring no claims: those on stdio, with tokens of Ostiary's own, and with certificates.",
        example={"nightly-report": "eu"},
    )
