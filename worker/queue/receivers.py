"""Where webhooks may be sent: public addresses, and the private networks that the operator allows.

A producer chooses the URL. Without this rule it could make the sender call servers that only this machine
reaches (server-side request forgery).
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from config.settings import settings

MAX_URL_LENGTH = 2000
"""Longest URL of a receiver, characters."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenReceiverError(Exception):
    """The receiver's address is not public, or its name has no address."""


def check_url(url: str) -> None:
    """Raise ValueError unless a webhook could be sent to this URL, as far as that shows without a look-up."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("it may have printable ASCII characters only")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must begin with https:// or http:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it may not contain a user or a password")
    _ = parts.port  # ValueError when it is no number
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        if parts.hostname == "localhost" and not is_allowed(ipaddress.ip_address("127.0.0.1")):
            raise ValueError("it names this machine (TRYON_WEBHOOK_NETWORKS allows networks)") from None
        return
    if not is_allowed(address):
        raise ValueError("its address is not public (TRYON_WEBHOOK_NETWORKS allows networks)")


def is_allowed(address: Address) -> bool:
    """Return whether webhooks may be sent to this address."""
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_global and not plain.is_multicast:
        return True
    networks = settings().webhook_networks
    return networks is not None and any(
        plain in ipaddress.ip_network(network.strip()) for network in networks.split(",")
    )


def resolve(host: str, port: int) -> str:
    """Return an address of the host to connect to: the name is not looked up again after the check.

    Raises ForbiddenReceiverError when one of its addresses is not allowed, and OSError when it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if not is_allowed(address):
            raise ForbiddenReceiverError(
                f"{host} has the address {address}, which is not public (TRYON_WEBHOOK_NETWORKS)"
            )
    return str(addresses[0])
