"""The stand-in driver for the tests of this room."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "drivers"))
import standin


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both builds of the stand-in."""
    if standin.compiler() is None:
        pytest.skip(standin.NO_COMPILER)
    folder = tmp_path_factory.mktemp("driver")
    return {"new": standin.build(folder), "old": standin.build(folder, old=True)}


@pytest.fixture
def install(libraries: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., standin.Driver]]:
    """install("rtx4090") puts that card under pynvml; threads that hang in it are let go at the end."""
    drivers: list[standin.Driver] = []
    contexts = []
    before = set(threading.enumerate())  # an earlier test's command leaves the thread that hears of signals

    def put(profile: str, build: str = "new") -> standin.Driver:
        driver = standin.Driver(libraries[build], tmp_path / f"state{len(drivers)}", standin.profile(profile))
        drivers.append(driver)
        contexts.append(driver.installed())
        return contexts[-1].__enter__()

    yield put
    for driver in drivers:
        driver.replace({key: value for key, value in driver.state.items() if "delay_us" not in key})
    left = let_go(before)
    for context in reversed(contexts):
        context.__exit__(None, None, None)
    assert not left, f"threads that did not end: {left}"


def let_go(before: set[threading.Thread]) -> list[str]:
    """Wait for phitui's threads that were not there before; the names of those that stay."""
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("phitui-")]
    for thread in threads:
        thread.join(5)
    return [thread.name for thread in threads if thread.is_alive()]
