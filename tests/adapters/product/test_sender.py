"""How a series is sent: again where it was not taken, and no more often than was said."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monai_smia.adapters.product import sender
from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.kinds import Masks
from monai_smia.adapters.product.sender import Sender


class Clock:
    """Time that goes on while somebody sleeps, and then alone."""

    def __init__(self) -> None:
        self.now, self.slept = 5.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Scripted(Sender):
    """Refuses the first series as often as it is told."""

    told = "scripted"

    def __init__(self, refusals: int = 0, retries: int = 2, per_minute: float | None = None) -> None:
        self.timeout, self.retries, self.per_minute, self.answers = 1.0, retries, per_minute, Masks()
        self.refusals, self.tries = refusals, 0
        self.prepare()

    def start(self) -> None:
        """Nothing to be ready for."""

    def close(self) -> None:
        """Nothing was opened."""

    def attempt(self, files: list[Path]) -> str:
        self.tries += 1
        return "busy" if self.tries <= self.refusals else ""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(sender, "time", found)
    return found


def query(folder: Path) -> Any:
    return SimpleNamespace(path=folder)


def test_sending_is_tried_again_so_many_times(tmp_path: Path, clock: Clock) -> None:
    patient = Scripted(refusals=2)
    patient._send(query(tmp_path))
    assert (patient.tries, clock.slept) == (3, [sender.AGAIN] * 2)
    tired = Scripted(refusals=3)
    with pytest.raises(AnswerError, match="did not take the series in 3 tries: busy"):
        tired._send(query(tmp_path))
    once = Scripted(refusals=1, retries=0)
    with pytest.raises(AnswerError, match="in 1 tries: busy"):
        once._send(query(tmp_path))


def test_queries_keep_to_the_rate(tmp_path: Path, clock: Clock) -> None:
    """Of six a minute the first goes at once, each other ten seconds after the one before it."""
    paced = Scripted(per_minute=6)
    for _ in range(3):
        paced._send(query(tmp_path))
    assert clock.slept == [0.0, 10.0, 10.0]
    clock.now += 60
    paced._send(query(tmp_path))
    assert clock.slept[-1] == 0.0
    free = Scripted()
    free._send(query(tmp_path))
    assert len(clock.slept) == 4


def test_several_at_once_share_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, together = list[float](), threading.Barrier(4)
    monkeypatch.setattr(sender, "time", SimpleNamespace(monotonic=lambda: 100.0, sleep=waits.append))
    paced = Scripted(per_minute=6)

    def ask() -> None:
        together.wait()
        paced._send(query(tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == [0.0, 10.0, 20.0, 30.0]
