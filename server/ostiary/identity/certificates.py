"""Client certificates that a proxy has verified: the subject it writes into a header, believed from its addresses alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from ostiary.identity.caller import Caller, NotRecognised, caller
from ostiary.identity.peers import Networks, comes_from
from ostiary_policies.model import Principal


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Recognises callers by the subject of their certificate, letter for letter."""

    header: str
    networks: Networks
    """Of the proxy's connections."""
    callers: Mapping[str, Principal]
    """By subject."""

    async def recognise(self, connection: HTTPConnection) -> Caller | None:
        """The holder of a certificate."""
        given = connection.headers.getlist(self.header)
        if not given:
            return None
        if not comes_from(connection, self.networks):
            raise NotRecognised("the header of the proxy comes from elsewhere")
        if len(given) > 1:
            raise NotRecognised("the header of the proxy is there several times")
        if not given[0].strip():  # how proxies write that there is no certificate
            return None
        principal = self.callers.get(given[0])
        if principal is None:
            raise NotRecognised("the certificate stands for nobody")
        return caller(principal, issuer="certificate", subject=given[0])
