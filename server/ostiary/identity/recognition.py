"""All configured ways to be recognised, open while the server runs."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from ostiary.config import Config
from ostiary.identity import provider
from ostiary.identity.caller import Authenticator, Caller, NotEntitled, NotRecognised, Unreachable
from ostiary.identity.certificates import ClientCertificates
from ostiary.identity.guesses import Guesses
from ostiary.identity.keyring import Keyring
from ostiary.identity.oauth import AccessTokens
from ostiary.identity.peers import proxies
from ostiary.identity.principals import configured_principal
from ostiary.identity.tokens import IssuedTokens
from ostiary_tools.control.tokens import TokenTable


@dataclass(frozen=True, slots=True)
class Recognition:
    """How callers are recognised. Without an authenticator nobody is asked."""

    guesses: Guesses
    cache_s: float
    """How long a credential is believed without looking at it again."""
    authenticators: tuple[Authenticator, ...] = ()
    resource: Mapping[str, Any] | None = None
    """Metadata of the protected resource (RFC 9728), where access tokens are a way."""

    async def caller(self, connection: HTTPConnection) -> Caller | None:
        """Who sends this, or `None` when no credential is given. Raises what an Authenticator raises, and TooMany."""
        try:
            return await self._found(connection)
        except NotRecognised as error:
            raise await self.guesses.wrong(connection, error) from error
        except NotEntitled as error:
            await self.guesses.useless(connection, error)
            raise

    async def holds(self, connection: HTTPConnection, caller: Caller) -> bool:
        """Whether the credential still stands for that caller, unchanged; when nobody can say, it does not."""
        try:
            found = await self._found(connection)
        except (NotRecognised, NotEntitled, Unreachable):
            return False
        return found is not None and found.principal == caller.principal

    async def _found(self, connection: HTTPConnection) -> Caller | None:
        found = [caller for way in self.authenticators if (caller := await way.recognise(connection))]
        if len(found) > 1:
            raise NotRecognised("the request brings several credentials")
        if not found and "authorization" in connection.headers:
            raise NotRecognised("the credential is of no kind that is accepted")
        return found[0] if found else None

    @property
    def metadata_url(self) -> str:
        """Where clients find the metadata, or empty."""
        if self.resource is None:
            return ""
        parts = urlsplit(self.resource["resource"])
        return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path.rstrip('/')}"


@asynccontextmanager
async def open_recognition(config: Config, tokens: TokenTable, guesses: Guesses) -> AsyncIterator[Recognition]:
    """The ways that `http.authentication` names."""
    authenticators: list[Authenticator] = []
    async with AsyncExitStack() as stack:
        if "oauth" in config.http.authentication:
            authenticators.append(await _access_tokens(config, stack))
        if "tokens" in config.http.authentication:
            issued = IssuedTokens(tokens, frozenset(config.agent.roles), config.tokens.cache_s, config.attributes)
            stack.push_async_callback(issued.close)
            authenticators.append(issued)
        if "proxy" in config.http.authentication:
            authenticators.append(_client_certificates(config))
        resource = protected_resource(config) if "oauth" in config.http.authentication else None
        yield Recognition(guesses, config.tokens.cache_s, tuple(authenticators), resource)


def _client_certificates(config: Config) -> ClientCertificates:
    known = config.certificates.items()
    principals = {held.subject: configured_principal(agent, held.roles, config.attributes) for agent, held in known}
    return ClientCertificates(config.proxy.header, proxies(config.proxy), principals)


async def _access_tokens(config: Config, stack: AsyncExitStack) -> AccessTokens:
    settings = config.oauth
    http = await stack.enter_async_context(provider.client())
    keyring = Keyring(lambda: provider.keys(http, str(settings.issuer), settings.jwks_url), time.monotonic)
    stack.push_async_callback(keyring.close)
    return AccessTokens(settings, config.attributes, keyring)


def protected_resource(config: Config) -> Mapping[str, Any]:
    """What a client without a token reads to get one."""
    oauth = config.oauth
    scopes = {"scopes_supported": list(oauth.scopes)} if oauth.scopes else {}
    return {
        "resource": oauth.resource,
        "authorization_servers": [oauth.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": config.server.name,
        **scopes,
    }
