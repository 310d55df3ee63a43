"""Logs without content: what a line holds, and that nothing somebody wrote gets into one."""

import asyncio
import io
import json
import logging
import sys

import pytest

from web import logs

SECRET = "i want to die"


@pytest.fixture
def line():
    """Return a function that logs something and gives the line as it is written."""
    form = logs.JsonLines()

    def write(name, level, message, *args, exc_info=None):
        record = logging.getLogger(name).makeRecord(
            name, level, "file.py", 7, message, args, exc_info and sys.exc_info()
        )
        text = form.format(record)
        assert "\n" not in text and text.isascii()
        return text, json.loads(text)

    return write


@pytest.fixture
def restored():
    """Leave logging as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "asyncio", "alembic")
    levels = {n: (logging.getLogger(n).level, logging.getLogger(n).disabled) for n in names}
    hooks = sys.excepthook
    yield
    root.handlers[:], root.level = before
    for name, (level, disabled) in levels.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).disabled = disabled
    sys.excepthook = hooks


def test_a_line_of_ours(line):
    """When, how grave, from where, and what: no more fields than these."""
    _, doc = line("peerchat.chat", logging.ERROR, "pump failed: %s", "ValueError")
    assert set(doc) == {"at", "level", "logger", "what"}
    assert (doc["level"], doc["logger"], doc["what"]) == ("error", "peerchat.chat", "pump failed: ValueError")
    assert doc["at"].endswith("+00:00")


@pytest.mark.parametrize(
    "name", ["uvicorn.error", "sqlalchemy.engine", "asyncio", "root", "peerchatty", "py.warnings"]
)
def test_of_others_only_the_template_is_written(line, name):
    """Their values are not ours to judge."""
    text, doc = line(name, logging.WARNING, "got %s from %r", SECRET, SECRET)
    assert SECRET not in text and doc["what"] == "got %s from %r"


def test_of_others_only_the_first_line_is_written(line):
    """asyncio's reports go on with what a task held."""
    text, doc = line("asyncio", logging.ERROR, f"Task exception was never retrieved\nfuture: {SECRET}")
    assert SECRET not in text and doc["what"] == "Task exception was never retrieved"


@pytest.mark.parametrize("name", ["asyncio", "uvicorn.error", "peerchat.node"])
def test_an_exception_is_its_type_and_its_places(line, name):
    """Its words may hold what somebody wrote; also those of its cause."""
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise ValueError(SECRET) from cause
    except ValueError:
        text, doc = line(name, logging.ERROR, "it failed", exc_info=True)
    assert SECRET not in text
    assert doc["error"] == "ValueError" and doc["places"][-1].startswith("test_logs.py:")


@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio", "peerchat.chat"])
def test_an_exception_logged_as_the_message_is_its_type(line, name):
    """`log.error(error)` is easily written, by others and by us."""
    text, _ = line(name, logging.ERROR, ValueError(SECRET))
    assert SECRET not in text


def test_a_line_cannot_be_forged(line):
    """Line breaks and quotes are data."""
    text, doc = line("web.live", logging.INFO, 'a\n{"level": "fake"}')
    assert doc["what"] == 'a\n{"level": "fake"}' and len(text.splitlines()) == 1


@pytest.mark.parametrize("message", ["", None, 7, "\n", "\r\n x"])
def test_any_message_makes_a_line(line, message):
    line("others", logging.INFO, message)


def test_everything_goes_to_standard_error_in_this_form(restored, monkeypatch):
    """Ours from INFO on, others' from WARNING on, and no line of a request, which holds an address."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.configure()
    logging.getLogger("peerchat.node").info("ours")
    logging.getLogger("peerchat.node").debug("too fine")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("uvicorn.error").warning("theirs")
    logging.getLogger("uvicorn.access").critical("10.1.2.3 - GET /")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    lines = [json.loads(x) for x in out.getvalue().splitlines()]
    assert [x["what"] for x in lines] == ["ours", "theirs"]


def test_a_log_call_that_is_wrong_shows_nothing(restored, monkeypatch):
    """Python prints the arguments of a call that does not fit its template; here it must not."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.configure()
    template = "two %s %s"
    logging.getLogger("peerchat.node").error(template, SECRET)
    assert SECRET not in out.getvalue()


async def test_what_asyncio_says_of_a_lost_task_shows_nothing(restored, monkeypatch):
    """The loop's own handler goes through these lines."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.configure()
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": ValueError(SECRET), "text": SECRET}
    )
    [doc] = [json.loads(x) for x in out.getvalue().splitlines()]
    assert SECRET not in out.getvalue() and doc["error"] == "ValueError"
