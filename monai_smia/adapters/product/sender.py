"""What products that are asked by DICOM share: a series goes out, and what refers to it comes back."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.inbox import Inbox
from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.queries import Query

AGAIN = 0.2  # seconds until sending is tried again


class Sender(ABC):
    """Sends every query as a derived series of its own, and waits for the object that refers to it.

    What is sent is marked, has new UIDs, and is of a research patient and study (`write_dicom_series`).
    """

    timeout: float
    retries: int
    per_minute: float | None
    answers: Masks | Finding

    def prepare(self) -> None:
        """Check what all have in common, and have nothing sent.

        Raises:
            ValueError: if an argument is outside its range.
        """
        for name, value in (("timeout", self.timeout), ("per_minute", self.per_minute)):
            if value is not None and (not isinstance(value, (int, float)) or not 0 < value < float("inf")):
                raise ValueError(f"{name} must be a number > 0, got {value!r}.")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries must be a whole number >= 0, got {self.retries!r}.")
        self.inbox = Inbox()
        self.poll: Callable[[], None] | None = None  # looks for results, where nobody brings them
        self._sent, self._pace = -math.inf, threading.Lock()

    @property
    def strays(self) -> dict[str, int]:
        """What came back and was no answer, counted."""
        return self.inbox.strays

    @property
    @abstractmethod
    def told(self) -> str:
        """What it is called."""

    @abstractmethod
    def start(self) -> None:
        """Be ready for results."""

    @abstractmethod
    def close(self) -> None:
        """Be ready no more."""

    @abstractmethod
    def attempt(self, files: list[Path]) -> str:
        """Send files once; what went wrong, nothing where all were taken."""

    def asked_before(self, uids: Iterable[str]) -> None:
        """Know the series that an earlier run has sent, whose answers may still come."""
        self.inbox.asked_before(uids)

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        """The product's answer.

        Raises:
            AnswerError: if it does not take the series, does not answer in time, or its answer does not fit.
        """
        return self.answers.of_object(self.result(query), query, classes)

    def result(self, query: Query) -> Dataset:
        """The object that the product answers a series with.

        Raises:
            AnswerError: if it does not take the series, does not answer in time, or answers twice and differently.
        """
        if query.series is None:
            raise AnswerError("a DICOM node is asked with DICOM series, and the case is none: give folders of series.")
        self.start()
        uid = query.series.uid
        before = self.inbox.expect(uid)
        try:
            self._send(query)
            return self.inbox.answer(uid, self.timeout, before, self.poll)
        finally:
            self.inbox.give_up(uid)

    def _send(self, query: Query) -> None:
        if self.per_minute is not None:
            with self._pace:  # several are asked at once: each takes the next place in time
                self._sent = max(self._sent + 60 / self.per_minute, time.monotonic())
                wait = self._sent - time.monotonic()
            time.sleep(max(wait, 0.0))
        reason = ""
        for _ in range(self.retries + 1):
            reason = self.attempt(sorted(query.path.iterdir()))
            if not reason:
                return
            time.sleep(AGAIN)
        raise AnswerError(f"the node did not take the series in {self.retries + 1} tries: {reason}.")


def described(sender: Sender, where: dict[str, Any]) -> dict[str, Any]:
    """What decides its answers, for the fingerprint of records: which product it is, and how it is read."""
    return where if sender.answers == Masks() else {**where, "answers": sender.answers}
