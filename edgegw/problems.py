"""Every problem that the gateway can name: its stable code, why it happens and what to do about it.

Errors, the `problems` of `status` and the pages of `explain` all come from the one table in `problems.toml`, so that a
technician reads the same words everywhere. `GatewayError` is the one exception that reaches the person: what
happened, why, what to do, and what is safe. Everything else that is raised is a defect.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Exit(IntEnum):
    """Exit codes of every command: a promise to scripts."""

    DONE = 0
    PROBLEMS = 1
    USAGE = 2
    NOT_RUNNING = 3
    CONFIGURATION = 4
    PERMISSION = 5
    SENSOR = 6
    UPLINK = 7
    IDENTITY = 8
    STORE = 9
    VERIFICATION_FAILED = 10
    VERIFICATION_INCOMPLETE = 11
    TIMEOUT = 12
    REFUSED = 13
    INTERRUPTED = 130


class Severity(StrEnum):
    """How much a problem matters: `error` needs somebody, `warning` will need somebody, `note` is to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Problem:
    """One row of the table: `title` says what, `why` the usual cause, `todo` the next steps, likeliest first."""

    code: str
    severity: Severity
    title: str
    why: str
    todo: tuple[str, ...]
    exit_code: Exit


def _read(path: Path) -> dict[str, Problem]:
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        code: Problem(
            code=code,
            severity=Severity(row["severity"]),
            title=row["what"],
            why=row["why"],
            todo=tuple(row["todo"]),
            exit_code=Exit[row["exit"].upper()],
        )
        for code, row in rows.items()
    }


#: Every problem by its code; the words stand in `problems.toml`.
PROBLEMS: Final[Mapping[str, Problem]] = _read(Path(__file__).with_name("problems.toml"))


def printable(text: str) -> str:
    r"""`text` without control characters (`\x1b` becomes the four letters), so that no input moves the cursor."""
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


class GatewayError(Exception):
    """What a person reads when something went wrong.

    `code` is a row of `PROBLEMS`, whose words are used for what is not given here. `what` is one sentence,
    `why` the cause in this case, `todo` the next commands or steps, `safe` what is not lost. `exit_code`
    overrides the table's. `details` are further keys of the JSON form. Unknown codes raise KeyError.
    """

    def __init__(
        self,
        code: str,
        what: str = "",
        *,
        why: str = "",
        todo: tuple[str, ...] | None = None,
        safe: str = "",
        exit_code: Exit | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        problem = PROBLEMS[code]
        super().__init__(what or problem.title)
        self.code = code
        self.what = what or problem.title
        self.why = why or problem.why
        self.todo = problem.todo if todo is None else todo
        self.safe = safe
        self.exit_code = problem.exit_code if exit_code is None else exit_code
        self.details = dict(details or {})

    def text(self) -> str:
        """For a terminal: the sentence with its code, then why, what to do and what is safe, a line each."""
        lines = [f"error: {self.what} [{self.code}]"]
        lines += [f"  {line}" for line in self.why.splitlines()]
        lines += [f"  do:   {step}" for step in self.todo]
        lines += [f"  safe: {self.safe}"] if self.safe else []
        return printable("\n".join(lines))

    def as_dict(self) -> dict[str, Any]:
        """For a script: the keys type, code, exit_code, what, why, todo, and safe where something is."""
        found: dict[str, Any] = {
            "type": "error",
            "code": self.code,
            "exit_code": int(self.exit_code),
            "what": self.what,
            "why": self.why,
            "todo": list(self.todo),
        }
        if self.safe:
            found["safe"] = self.safe
        return found | self.details

    def json(self) -> str:
        """`as_dict` as one line of ASCII, so that no terminal and no locale refuses it."""
        return json.dumps(self.as_dict())


def entry(code: str, text: str = "") -> dict[str, Any]:
    """One element of the `problems` of `status`: code, severity, text and todo; KeyError for a code unknown."""
    problem = PROBLEMS[code]
    return {
        "code": code,
        "severity": str(problem.severity),
        "text": text or problem.title,
        "todo": list(problem.todo),
    }
