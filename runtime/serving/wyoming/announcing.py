"""Tells the local network where Wyoming is spoken (zeroconf), so that Home Assistant finds it.

In: a name, an address and a port. Out: the announcement, until the context ends.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from commands.errors import UserError

SERVICE = "_wyoming._tcp.local."
MOST_BYTES = 63  # of a name in DNS


@contextmanager
def announced(model: str, host: str, port: int) -> Iterator[None]:
    """Announce a server that listens on `host`.

    Raises:
        UserError: others cannot reach it, or the network takes no announcements.
    """
    import zeroconf

    addresses = addresses_of(host)
    name = re.sub(r"[^\w-]+", "-", f"{model}-{socket.gethostname()}").encode()[:MOST_BYTES]
    label = name.decode("utf-8", "ignore")
    service = zeroconf.ServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        parsed_addresses=addresses,
        port=port,
        server=f"{label}.local.",
    )
    try:
        announcing = zeroconf.Zeroconf(interfaces=addresses)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--announce: this network takes no announcements: {reason}") from None
    with announcing:
        announcing.register_service(service, allow_name_change=True)
        yield  # its end takes the announcement back


def addresses_of(host: str) -> list[str]:
    """Those on which others reach the host.

    Raises:
        UserError: there are none.
    """
    import zeroconf

    found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    if any(ipaddress.ip_address(address).is_unspecified for address in found):
        found = set(zeroconf.get_all_addresses())
    reached = sorted(str(a) for a in found if not ipaddress.ip_address(a).is_loopback)
    if not reached:
        raise UserError(f"--announce: other machines cannot reach {host}; give --host ADDRESS")
    return reached
