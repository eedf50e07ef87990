"""Client certificates that a proxy has verified: the subject it writes into a header, believed from its addresses alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.requests import HTTPConnection

from ostiary.identity.caller import Caller, NotRecognised, caller
from ostiary_policies.model import Principal


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Recognises callers by the subject of their certificate, letter for letter."""

    header: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    """Of the proxy's connections."""
    callers: Mapping[str, Principal]
    """By subject."""

    async def recognise(self, connection: HTTPConnection) -> Caller | None:
        """The holder of a certificate."""
        given = connection.headers.getlist(self.header)
        if not given:
            return None
        if not self._is_from_the_proxy(connection):
            raise NotRecognised("the header of the proxy comes from elsewhere")
        if len(given) > 1:
            raise NotRecognised("the header of the proxy is there several times")
        if not given[0].strip():  # how proxies write that there is no certificate
            return None
        principal = self.callers.get(given[0])
        if principal is None:
            raise NotRecognised("the certificate stands for nobody")
        return caller(principal, issuer="certificate", subject=given[0])

    def _is_from_the_proxy(self, connection: HTTPConnection) -> bool:
        """By the address of the connection itself; what a header says of it counts for nothing."""
        if connection.client is None:
            return False
        try:
            address = ip_address(connection.client.host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)
