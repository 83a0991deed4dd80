"""Logs: JSON lines, one event name a line, stable fields, never a person (invariant 10).

Four things keep people out: field names are allow-listed (FIELDS), values are scalars, an exception becomes its type
name and stable code (never its text: KeyError, pydantic, lxml and databases quote values there; never locals), and a
tripwire redacts whatever has the form of an identity number, right check digits or not. What was dropped and redacted
is counted (`tally`). Libraries' own loggers pass through the same pipeline, without their text.
"""

import logging
import re
import sys
import threading
import warnings
from collections.abc import Mapping, MutableMapping
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, TextIO
from uuid import UUID

import orjson
import structlog

from agent.domain.identifiers import looks_like_identity_number

FIELDS: Final = frozenset(
    {
        "municipality", "event", "level", "at",
        "msg_id", "message_id", "new_msg_id", "original_id", "envelope", "first_number", "last_number", "number",
        "state", "verdict", "condition", "kind", "codes", "attempt", "wait_s", "count", "limit", "share",
        "queue", "subject", "from_her_id", "to_her_id", "delivery_count", "host", "port", "address", "broker",
        "error_type", "error_code", "error_at", "error_causes", "logger", "reason", "repair", "digest",
        "source", "position", "incarnation", "table", "rule", "severity", "cause", "stage", "loop", "signal",
        "changes", "services", "notifications", "messages", "due", "waiting", "parked", "held", "bytes", "duration_s",
        "profile", "mode", "version", "pid", "verb", "file", "certificate", "days_left", "lag_s", "through",
    }
)  # fmt: skip
"""Every field a line may have. A name is added here together with the thought whether its values can name a person."""

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 200
"""Longer values are cut: a stable field is never long."""

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
_CODE: Final = re.compile(r"KPR-\d{3}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.]{1,80}")
_UUID: Final = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-z])")
# The form decides, never the check digits: a mistyped number is a person's number too.
_DIGITS: Final = re.compile(r"\d{11}|(?<!\d)\d{6}[ .-]\d{5}(?!\d)")
_MAX_ITEMS: Final = 20
_MAX_CAUSES: Final = 5


class Log(Protocol):
    """What a loop needs to tell what happened."""

    def info(self, event: str, **fields: object) -> None:
        """An ordinary event."""
        ...

    def alarm(self, event: str, **fields: object) -> None:
        """Something a person must look at. `error` may be an exception: its type and code are written."""
        ...


class _Tally:
    """Counts of what was kept out of the log."""

    def __init__(self) -> None:
        self.dropped = 0
        self.redacted = 0


_tally = _Tally()


def tally() -> dict[str, int]:
    """How many fields were dropped and how many values redacted since the process began."""
    return {"dropped": _tally.dropped, "redacted": _tally.redacted}


class MunicipalityLog:
    """A Log with bound fields, such as the municipality's unit name."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = dict(fields)

    def bind(self, **fields: object) -> "MunicipalityLog":
        """The same log with more fields on every line."""
        return MunicipalityLog({**self._fields, **fields})

    def info(self, event: str, **fields: object) -> None:
        """An ordinary event."""
        structlog.get_logger().info(event, **{**self._fields, **fields})

    def alarm(self, event: str, **fields: object) -> None:
        """Something a person must look at."""
        structlog.get_logger().error(event, **{**self._fields, **fields})


def get(**fields: object) -> MunicipalityLog:
    """A log with these fields on every line. Configures the pipeline for standard error if nobody has."""
    if not structlog.is_configured():
        configure(sys.stderr)
    return MunicipalityLog(fields)


def configure(stream: TextIO, level: int = logging.INFO) -> None:
    """Every log of the process, libraries' included, goes to `stream` as JSON lines from `level` up.

    Also takes over what would print exception text by itself: uncaught exceptions of the process and of threads,
    exceptions in destructors, and warnings.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _level_as_we_say,
            _moment,
            _exceptions_as_types,
            _only_known_fields,
            _redacted,
            _as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler(logging.WARNING)]
    root.setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a failing handler would print the record's arguments
    logging.captureWarnings(capture=True)
    warnings.simplefilter("default")
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread


Event = MutableMapping[str, Any]


def _level_as_we_say(_logger: object, _method: str, event: Event) -> Event:
    event["level"] = {"error": "alarm", "critical": "alarm"}.get(event["level"], event["level"])
    return event


def _moment(_logger: object, _method: str, event: Event) -> Event:
    event["at"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _exceptions_as_types(_logger: object, _method: str, event: Event) -> Event:
    given = event.pop("error", None), event.pop("exc_info", None), event.pop("exception", None)
    for candidate in given:
        error = _exception_of(candidate)
        if error is not None:
            event.update(describe(error))
            break
    return event


def _exception_of(candidate: object) -> BaseException | None:
    if isinstance(candidate, BaseException):
        return candidate
    if isinstance(candidate, tuple):
        return next((part for part in candidate if isinstance(part, BaseException)), None)
    return sys.exc_info()[1] if candidate is True else None


def describe(error: BaseException) -> dict[str, object]:
    """An exception as log fields: its type, its stable code, where it was raised and the types that caused it."""
    fields: dict[str, object] = {"error_type": type(error).__name__}
    code = getattr(error, "code", None)
    if isinstance(code, str) and _CODE.fullmatch(code):
        fields["error_code"] = code
    where = error.__traceback__
    if where is not None:
        fields["error_at"] = _place(where)
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < _MAX_CAUSES:
        causes.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    if causes:
        fields["error_causes"] = causes
    return fields


def _place(where: TracebackType) -> str:
    while where.tb_next is not None:
        where = where.tb_next
    return f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}"


def _only_known_fields(_logger: object, _method: str, event: Event) -> Event:
    kept: dict[str, Any] = {}
    for name, value in event.items():
        plain = _plain(value) if name in FIELDS else None
        if plain is None:
            _tally.dropped += value is not None
            continue
        kept[name] = plain
    if not _EVENT.fullmatch(str(kept.get("event", ""))):
        _tally.dropped += 1
        kept["event"] = "unnamed_event"
    return kept


def _plain(value: object) -> str | int | float | list[Any] | None:
    """The value as JSON may carry it; None for what is no scalar and no short list of scalars."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, UUID | Path):
        return str(value)[:MAX_TEXT]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item) for item in list(value)[:_MAX_ITEMS] if not isinstance(item, list | tuple | set)]
        return [item for item in items if item is not None]
    return None


def _redacted(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        event[name] = [_safe(item) for item in value] if isinstance(value, list) else _safe(value)
    return event


def _safe(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    text = str(value)
    rest = _UUID.sub("|", text)
    if _DIGITS.search(rest) is None and not looks_like_identity_number(text):
        return value
    if isinstance(value, float) and abs(value) < 10**10:
        return value  # the digits are decimals
    _tally.redacted += 1
    return REDACTED


def _as_json(_logger: object, _method: str, event: Event) -> str:
    first = {name: event[name] for name in ("at", "level", "municipality", "event") if name in event}
    return orjson.dumps({**first, **event}).decode()


class _LibraryHandler(logging.Handler):
    """A library's warning as one line: who, how grave, which type of exception. Never its text or its arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's logger, level, place in the code and exception type."""
        name = record.name if _NAME.fullmatch(record.name) else "unnamed"
        fields: dict[str, object] = {"logger": name}
        error = _exception_of(record.exc_info)
        if error is not None:
            fields["error"] = error
        else:
            fields["error_at"] = f"{Path(record.pathname).name}:{record.lineno}"
        log = structlog.get_logger()
        (log.error if record.levelno >= logging.ERROR else log.warning)("library_message", **fields)


def _uncaught(_kind: type[BaseException], error: BaseException, _where: TracebackType | None) -> None:
    structlog.get_logger().error("uncaught_exception", error=error)


def _uncaught_in_thread(hook: threading.ExceptHookArgs) -> None:
    structlog.get_logger().error("uncaught_exception", error=hook.exc_value, loop="thread")


def _unraisable(hook: "sys.UnraisableHookArgs") -> None:
    structlog.get_logger().error("unraisable_exception", error=hook.exc_value)
