"""Nothing of a person reaches a log line, whatever is logged and whoever logs it (invariant 10)."""

import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

import orjson
import pytest
import structlog
from lxml import etree
from pydantic import BaseModel, ValidationError

from agent.observe import logs

CANARY = "15811278940"  # Tenor form: month + 80; the check digits need not be right for it to be redacted
SECRET_NAME = "Olaug Kanarifugl"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, sys.unraisablehook, threading.excepthook
    raising, filters = logging.raiseExceptions, warnings.filters[:]
    written = io.StringIO()
    logs.configure(written)
    yield written
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], level, sys.excepthook, sys.unraisablehook, threading.excepthook = before
    root.setLevel(level)
    logging.raiseExceptions = raising
    warnings.filters[:] = filters  # type: ignore[index]  # typeshed says Sequence; it is a list


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    text = stream.getvalue()
    assert CANARY not in text
    assert "Kanarifugl" not in text
    return [orjson.loads(line) for line in text.splitlines()]


def test_a_line_has_its_event_its_municipality_and_its_fields(stream: io.StringIO) -> None:
    logs.get(municipality="kinn").info("message_sent", msg_id=UUID(int=7), attempt=2)
    (line,) = lines(stream)
    assert line["municipality"] == "kinn"
    assert line["event"] == "message_sent"
    assert line["level"] == "info"
    assert line["msg_id"] == str(UUID(int=7))
    assert line["attempt"] == 2
    assert str(line["at"]).endswith("Z")


def test_an_alarm_has_its_own_level(stream: io.StringIO) -> None:
    logs.get(municipality="kinn").alarm("receipt_negative")
    assert lines(stream)[0]["level"] == "alarm"


def test_an_unknown_field_is_dropped_and_counted(stream: io.StringIO) -> None:
    before = logs.tally()["dropped"]
    logs.get(municipality="kinn").info("row_kept", name=SECRET_NAME)
    (line,) = lines(stream)
    assert "name" not in line
    assert logs.tally()["dropped"] == before + 1


@pytest.mark.parametrize(
    "value",
    [
        CANARY,
        int(CANARY),
        f"service {CANARY}",
        f"{CANARY[:6]} {CANARY[6:]}",
        "99999999999",  # no valid check digits, no date: still redacted
        f"x{CANARY}y",
        f"0047{CANARY}",
        [CANARY, "ok"],
        (int(CANARY),),
    ],
)
def test_what_has_the_form_of_an_identity_number_is_redacted_and_counted(stream: io.StringIO, value: object) -> None:
    before = logs.tally()["redacted"]
    logs.get(municipality="kinn").alarm("foreign_message", subject=value)
    assert logs.REDACTED in str(lines(stream)[0]["subject"])
    assert "99999999999" not in stream.getvalue()
    assert logs.tally()["redacted"] == before + 1


def test_ids_numbers_and_durations_are_not_redacted(stream: io.StringIO) -> None:
    guid = "a1234567-1234-1234-1234-123456789012"
    logs.get(municipality="kinn").info(
        "e", msg_id=guid, number=1234567, wait_s=0.123456789012345, from_her_id="8139520"
    )
    (line,) = lines(stream)
    assert line["msg_id"] == guid
    assert line["number"] == 1234567
    assert line["wait_s"] == pytest.approx(0.123456789012345)


def test_nested_values_are_dropped(stream: io.StringIO) -> None:
    logs.get(municipality="kinn").info("e", reason={"fid": CANARY}, codes=[["a", SECRET_NAME], "E10"], kind=object())
    (line,) = lines(stream)
    assert "reason" not in line
    assert "kind" not in line
    assert line["codes"] == ["E10"]


def test_an_event_name_with_words_in_it_is_not_written(stream: io.StringIO) -> None:
    logs.get(municipality="kinn").info(f"sent {SECRET_NAME}")
    assert lines(stream)[0]["event"] == "unnamed_event"


def key_error() -> None:
    {}[CANARY]


def validation_error() -> None:
    class Person(BaseModel):
        fid: int

    Person.model_validate({"fid": SECRET_NAME + CANARY})


def xml_error() -> None:
    etree.fromstring(f"<Bruker fid='{CANARY}'>{SECRET_NAME}</Brukre>")


class Coded(Exception):
    code = "KPR-999"


def chained_error() -> None:
    try:
        key_error()
    except KeyError as error:
        raise Coded(f"{SECRET_NAME} {CANARY}") from error


@pytest.mark.parametrize("fault", [key_error, validation_error, xml_error, chained_error])
def test_an_exception_is_its_type_and_code_only(stream: io.StringIO, fault) -> None:
    log = logs.get(municipality="kinn")
    try:
        fault()
    except (KeyError, ValidationError, etree.XMLSyntaxError, Coded) as error:
        log.alarm("loop_failed", error=error)
        log.alarm("loop_failed", exc_info=True)
        log.alarm("loop_failed", exc_info=sys.exc_info())
        expected = type(error).__name__
    written = lines(stream)
    assert [line["error_type"] for line in written] == [expected] * 3
    assert all("error" not in line and "exc_info" not in line and "exception" not in line for line in written)
    assert str(written[0]["error_at"]).split(":")[0].endswith((".py", ".pyx", ".pxi", "<string>"))


def test_the_code_and_the_causes_of_an_exception_are_told(stream: io.StringIO) -> None:
    with suppress(Coded):
        try:
            chained_error()
        except Coded as error:
            logs.get(municipality="kinn").alarm("loop_failed", error=error)
            raise
    (line,) = lines(stream)
    assert line["error_code"] == "KPR-999"
    assert line["error_causes"] == ["KeyError"]


@pytest.mark.parametrize("name", ["azure.servicebus", "psycopg.pool", "sqlalchemy.engine.Engine", "asyncio"])
def test_a_library_is_reduced_to_who_and_how_grave(stream: io.StringIO, name: str) -> None:
    library = logging.getLogger(name)
    library.info("parameters %s", CANARY)
    library.warning("parameters %s", CANARY)
    try:
        key_error()
    except KeyError:
        library.exception("failed for %s", SECRET_NAME)
    warned, failed = lines(stream)
    assert (warned["event"], warned["logger"], warned["level"]) == ("library_message", name, "warning")
    assert (failed["level"], failed["error_type"]) == ("alarm", "KeyError")


def test_a_library_with_a_wrong_format_writes_nothing_else(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("asyncio").warning("two %s %s", CANARY)  # noqa: PLE1206  the wrong format is what is tried
    assert CANARY not in capsys.readouterr().err
    assert len(lines(stream)) == 1


def test_uncaught_exceptions_print_no_text(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        key_error()
    except KeyError as error:
        sys.excepthook(KeyError, error, error.__traceback__)
    thread = threading.Thread(target=key_error)
    thread.start()
    thread.join()
    assert [line["event"] for line in lines(stream)] == ["uncaught_exception"] * 2
    assert capsys.readouterr().err == ""


def test_warnings_print_no_text(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    warnings.warn(f"odd value {CANARY}", RuntimeWarning, stacklevel=1)
    assert lines(stream)[0]["logger"] == "py.warnings"
    assert capsys.readouterr().err == ""


def test_a_log_can_be_had_before_it_is_configured(capsys: pytest.CaptureFixture[str], stream: io.StringIO) -> None:
    structlog.reset_defaults()
    logs.get(municipality="kinn").info("early", reason=CANARY)
    assert CANARY not in capsys.readouterr().err
