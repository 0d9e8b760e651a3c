"""What the daemon says: structlog into journal fields, text or JSON lines on standard error.

Journal fields are sent by systemd's own protocol for one line per event, with the level as a priority prefix
(sd-daemon(3)), so that no further library is needed.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

# structlog's console for developers imports rich wherever that is installed: 3.5 MiB that a daemon never uses.
if "rich" in sys.modules:
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog

    del sys.modules["rich"]

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

# syslog(3) priorities.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure(level: str, form: str, *, under_systemd: bool) -> FilteringBoundLogger:
    """The daemon's logger; `form` is `auto`, `text` or `json`."""
    renderers: list[structlog.typing.Processor] = []
    if form == "json":
        renderers = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ]
    elif under_systemd:
        renderers = [_journal_line]
    else:
        renderers = [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), _text_line]
    # Libraries speak through logging: their warnings are ours, their chatter is not.
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(name)s: %(message)s")
    structlog.configure(
        processors=[structlog.processors.add_log_level, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _fields(event: EventDict) -> str:
    return "".join(f" {key}={_quoted(value)}" for key, value in event.items() if value not in ("", None))


def _quoted(value: object) -> str:
    text = "".join(char if char.isprintable() else "?" for char in str(value))
    return f'"{text}"' if " " in text else text


def _journal_line(logger: WrappedLogger, name: str, event: EventDict) -> str:
    del logger, name
    priority = _PRIORITIES.get(str(event.pop("level", "info")), 6)
    return f"<{priority}>{event.pop('event')}{_fields(event)}"


def _text_line(logger: WrappedLogger, name: str, event: EventDict) -> str:
    del logger, name
    level, stamp = event.pop("level", "info"), event.pop("timestamp", "")
    return f"{stamp} {level:<7} {event.pop('event')}{_fields(event)}"
