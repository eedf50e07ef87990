"""Who the owner of a collection is today: as whom its rows are followed, although nobody comes with a credential.

A collection remembers who made it and in which roles. That they were his then entitles nobody now: what counts is what the
configuration and the table of tokens say of that agent at the moment of each refresh.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ostiary.config import Config
from ostiary.identity.principals import configured_principal
from ostiary_policies.model import Principal
from ostiary_tools.control.tokens import TokenTable


class NotEntitled(Exception):
    """The owner is not who he was, in words."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Asks what this installation says of an agent, without a credential of his."""

    config: Config
    tokens: TokenTable

    async def today(self, owner: Principal) -> Principal:
        """The owner with today's roles and attributes. Raises NotEntitled, JournalError."""
        held = [*self._configured(owner.agent), *await self._by_tokens(owner.agent)]
        if not held:
            raise NotEntitled("the collection's owner is not configured any more")
        enough = [roles for roles in held if set(owner.roles) <= set(roles)]
        if not enough:
            raise NotEntitled("the collection's owner does not have the roles any more that it was made in")
        # Of several ways to be that agent the one that gives least besides.
        now = configured_principal(owner.agent, min(enough, key=lambda roles: (len(roles), sorted(roles))), self.config.attributes)
        if not {one.name for one in owner.attributes} <= {one.name for one in now.attributes}:
            raise NotEntitled("the collection's owner does not have the attributes any more that it was made with")
        return now

    def _configured(self, agent: str) -> Iterator[tuple[str, ...]]:
        """The roles of each way that the configuration gives."""
        config = self.config
        if agent == config.agent.name:
            yield from ((role,) for role in config.agent.roles)
        if agent in config.certificates and "proxy" in config.http.authentication:
            yield config.certificates[agent].roles
        if agent in config.jobs.owners and "oauth" in config.http.authentication:
            yield config.jobs.owners[agent]

    async def _by_tokens(self, agent: str) -> list[tuple[str, ...]]:
        if "tokens" not in self.config.http.authentication:
            return []
        known = set(self.config.agent.roles)
        stored = [known.intersection(one.roles) for one in await self.tokens.all() if one.valid and one.agent == agent]
        return [tuple(sorted(roles)) for roles in stored if roles]
