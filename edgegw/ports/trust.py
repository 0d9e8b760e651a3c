"""Whom a port of the local network trusts: an authority that is configured, or a neighbour that is really near.

Without TLS nobody proves anything, so what is plain stays within private networks (RFC 1918, RFC 4193, link-local,
loopback): a mistyped address must neither fetch readings from the internet nor send a password there.
"""

from __future__ import annotations

import ipaddress
import ssl

from edgegw.ports.errors import PortError


def authority(ca: str) -> ssl.SSLContext:
    """A client's TLS context (1.2 and newer) that trusts the PEM file `ca` alone; PortError `ca` when it cannot."""
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT
    )  # create_default_context may load the system's authorities
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # devices are older than gateways
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise PortError(
            "ca",
            f"The authority in {ca} cannot be read: {said(error)}.",
            "Check `ca` of the sensor: a PEM certificate that the service may read.",
        ) from error
    return context


def is_near(address: str) -> bool:
    """Whether an IP address belongs to a private network, this machine or this link."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    # 0.0.0.0 and the addresses of documentation are "private" for Python; nothing answers there.
    return found.is_private or found.is_link_local or found.is_loopback


def refuse_far(peer: str, address: str, secured: str) -> None:
    """PortError `public` when a plain connection leads to an address that is not near."""
    if not is_near(address):
        raise PortError(
            "public",
            f"{peer} is at {address}, outside of private networks, and the connection is not encrypted.",
            f"Check the address; across the internet only {secured} with `ca` is spoken.",
        )


def said(error: BaseException) -> str:
    """The words of an exception without numbers and source lines of C."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
