"""HTTP on the local network: documents that are fetched, and the endpoint to which devices post theirs.

h11 is the protocol: it does no I/O, refuses what is ambiguous (two lengths, bare line feeds) and never guesses.
"""

from edgegw.ports.http.endpoint import Endpoint
from edgegw.ports.http.fetch import fetch

__all__ = ["Endpoint", "fetch"]
