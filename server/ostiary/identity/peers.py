"""Where a request comes from, by the address of its connection; a header is believed from the proxy alone."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection

from ostiary.config.callers import Proxy

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


def proxies(settings: Proxy) -> Networks:
    """Whose headers are believed."""
    return tuple(map(ip_network, settings.addresses))


def peer(connection: HTTPConnection) -> Address | None:
    """Who is connected; `None` where that has no address. An IPv4 address is one on a socket of both families too."""
    return _address(connection.client.host) if connection.client else None


def comes_from(connection: HTTPConnection, networks: Networks) -> bool:
    """Whether the connection itself does; what a header says of it counts for nothing."""
    address = peer(connection)
    return address is not None and any(address in network for network in networks)


def sender(connection: HTTPConnection, proxies: Networks) -> Address | None:
    """Who is connected, or whom the proxy names as connected to it: what stands before that, a client may have written."""
    if comes_from(connection, proxies):
        hops = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        return _address(hops[-1].strip()) or peer(connection)
    return peer(connection)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
