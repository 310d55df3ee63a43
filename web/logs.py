"""Logs without content: JSON lines whose fields come from an allowlist.

An exception is named by its type and the places in the code that it came through; its words are left out,
for they may hold what somebody wrote.
"""

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType

_OURS = ("moderation", "escalation", "peerchat", "web")


class JsonLines(logging.Formatter):
    """One JSON object a line: at, level, logger, what, and for an exception its type and places."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "what": self._what(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["places"] = _places(record.exc_info[2])
        return json.dumps(line, ensure_ascii=True)

    def _what(self, record: logging.LogRecord) -> str:
        """Return our own messages whole, and of other packages only the template, never its values."""
        if isinstance(record.msg, BaseException):
            return type(record.msg).__name__
        if record.name.partition(".")[0] in _OURS:
            return record.getMessage()
        return str(record.msg).splitlines()[0] if record.msg else ""


def _places(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in traceback.extract_tb(trace)][
        -8:
    ]


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("peerchat").critical("uncaught", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def configure(level: int = logging.INFO) -> None:
    """Send every logger's lines to standard error, in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    logging.raiseExceptions = False  # a log call that is wrong must not print its arguments
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "asyncio", "alembic"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True  # a request's line holds an address
