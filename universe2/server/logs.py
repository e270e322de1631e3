"""Logs of a server: lines for people, or JSON objects for machines, on stderr."""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys

from universe2.core.errors import UsageError

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
_WHO = ("holder", "peer")
"""what a record may say of who called, by logging's ``extra``"""
_SESSION = re.compile(r"\bsession ([0-9a-f]{16})\b")


class JsonFormatter(logging.Formatter):
    """One object a line: time (ISO 8601, UTC), level, logger, message; what else is known, if anything."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        if found := _SESSION.search(message):
            line["session"] = found[1]
        line |= {name: said for name in _WHO if (said := getattr(record, name, ""))}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str, form: str) -> None:
    """Send all logs of this process to stderr. Raises UsageError."""
    if level not in LEVELS:
        raise UsageError(f"--log-level must be one of {', '.join(LEVELS)}, got {level!r}")
    if form not in FORMATS:
        raise UsageError(f"--log-format must be one of {', '.join(FORMATS)}, got {form!r}")
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler])
