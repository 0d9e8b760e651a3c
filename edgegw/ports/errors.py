"""The error of a port: what a technician needs to know and do, and one word to count."""

from __future__ import annotations


class PortError(Exception):
    """A port that cannot be used now.

    `reason` is one counted word (`missing`, `permission`, `busy`, `unplugged`, `refused`, ...), `why` the
    cause in a sentence, `todo` what to do about it.
    """

    def __init__(self, reason: str, why: str, todo: str) -> None:
        super().__init__(f"{why} {todo}")
        self.reason = reason
        self.why = why
        self.todo = todo
