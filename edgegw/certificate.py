"""How long the certificate for the uplink still holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from edgegw.config import Reference


def days_left(reference: Reference, now: float) -> float | None:
    """Days until the certificate ends, negative when it has; None when there is none that can be read.

    `now` is POSIX seconds.
    """
    try:
        data = reference.path(os.environ).read_bytes()
        end = x509.load_pem_x509_certificate(data).not_valid_after_utc.timestamp()
    except (OSError, ValueError, LookupError):
        return None
    return (end - now) / 86400
