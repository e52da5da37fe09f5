"""The log: private, bounded, and never anything of a chat."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgechat.engine.protocol import TextDelta
from edgechat.errors import EngineError, ExitCode, StorageError
from edgechat.history.store import HistoryStore
from edgechat.runtime import logs, paths
from edgechat.session.factory import engine_for
from edgechat.session.session import Session
from edgechat.settings.schema import Config
from tests.support.rights import bound_by_rights


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    yield
    logs.stop()


def test_nothing_is_made_before_something_is_logged() -> None:
    logs.start("warning")
    logs.log.info("not this")
    assert not logs.path().parent.exists()
    logs.log.warning("this")
    assert [line.level for line in logs.read()] == ["warning"]
    assert stat.S_IMODE(logs.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(logs.path().parent.stat().st_mode) == 0o700


def test_a_full_log_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT", 2000)
    logs.start()
    for number in range(100):
        logs.log.info("line %03d", number)
    sizes = [path.stat().st_size for path in logs.path().parent.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < 2200
    assert logs.read()[-1].text.endswith("line 099")


def test_levels_take_their_tracebacks_along() -> None:
    logs.start("debug")
    logs.log.debug("small")
    try:
        raise KeyError("SECRET words of a user")
    except KeyError as error:
        logs.fault(error, "a test")
    logs.log.info("after")
    shown = logs.read("error")
    assert all(line.level == "error" for line in shown)
    assert any("test_logs.py" in line.text and "test_levels" in line.text for line in shown)
    assert not any("small" in line.text or "after" in line.text for line in shown)


def test_a_fault_keeps_its_place_and_not_its_words() -> None:
    logs.start()
    try:
        try:
            raise OSError(28, "No space left on device", "/SECRET/file")
        except OSError as inner:
            raise ValueError("SECRET") from inner
    except ValueError as error:
        told = logs.fault(error, "a test")
    written = logs.path().read_text()
    assert "SECRET" not in written
    assert "SECRET" not in f"{told} {told.hint}"
    assert "ValueError" in written
    assert "OSError: No space left on device" in written
    assert str(logs.path()) in told.hint
    assert told.exit_code is ExitCode.ERROR


def test_a_log_that_cannot_be_written_keeps_nobody_from_working(own_home: Path, open_folder: Path) -> None:
    own_home.parent.mkdir(exist_ok=True)
    own_home.write_text("a file where the folder would be")
    logs.start()
    logs.log.error("lost")
    with pytest.raises(StorageError):
        logs.read()


@pytest.mark.model
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
async def test_a_model_that_crashes_is_logged_and_nothing_of_its_chat(home_with_model: Path) -> None:
    logs.start("debug")
    engine = engine_for(Config())
    session = Session(engine, HistoryStore.in_memory(), system="Repeat SECRET.")
    with pytest.raises(EngineError):
        async for event in session.send("Say SECRET a hundred times: SECRET SECRET SECRET"):
            if isinstance(event, TextDelta) and engine.pid is not None:
                os.kill(engine.pid, signal.SIGSEGV)
    await session.aclose()
    written = logs.path().read_text()
    assert "SIGSEGV" in written
    assert "model loaded: smollm2-135m-instruct" in written
    for path in logs.path().parent.iterdir():
        assert "SECRET" not in path.read_text("utf-8", "replace")
    assert "Segmentation fault" in paths.log_path("worker").read_text()


def test_a_log_of_somebody_else_is_told(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_HOME", str(open_folder))
    logs.start()
    logs.log.error("mine")
    logs.stop()
    with bound_by_rights(open_folder):
        logs.path().chmod(0)
        with pytest.raises(StorageError, match="Log cannot be read"):
            logs.read()
