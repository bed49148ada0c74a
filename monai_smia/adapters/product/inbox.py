"""What comes back from a product: matched with what was asked by the series it refers to, or counted as a stray."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from pydicom import Dataset

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.references import kind_of, referred_series

SETTLE = 0.5  # seconds after an answer in which a second one would be noticed
LONGEST = 30.0  # seconds that the association of an answer may stay open
OTHER = "refers to another series"
LATE = "came too late or twice"
EARLIER = "answers a query of an earlier run"
NONE = "is no DICOM SEG, RTSTRUCT or SR"
UNTOLD = ("SOPInstanceUID", "InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime")
Open = Callable[[], bool]


class Inbox:
    """Objects that come back, from whatever thread takes them.

    An object is kept where a query waits for the series that it refers to. All others are strays: counted by what is
    wrong with them, and never used.
    """

    def __init__(self) -> None:
        self.strays: dict[str, int] = {}
        self._changed = threading.Condition()
        self._expected: dict[str, list[tuple[Dataset, Open]]] = {}
        self._given_up: set[str] = set()
        self._earlier: set[str] = set()

    def asked_before(self, uids: Iterable[str]) -> None:
        """Know the series that an earlier run has sent, whose answers may still come."""
        with self._changed:
            self._earlier |= set(uids)

    def expect(self, uid: str) -> dict[str, int]:
        """Wait for objects that refer to a series from now on; returns the strays until now."""
        with self._changed:
            self._expected[uid] = []
            return dict(self.strays)

    def give_up(self, uid: str) -> None:
        """Wait no more: what comes later is too late."""
        with self._changed:
            self._expected.pop(uid, None)
            self._given_up.add(uid)

    def take(self, dataset: Dataset, is_open: Open = lambda: False) -> None:
        """Take what has come.

        Args:
            dataset: the object.
            is_open: whether what has brought it may bring more.
        """
        referred = referred_series(dataset)
        with self._changed:
            known = [uid for uid in referred if uid in self._expected]
            for uid in known:
                self._expected[uid].append((dataset, is_open))
            self._changed.notify_all()
            late, earlier = referred & self._given_up, referred & self._earlier
        if not known:
            self.note(NONE if not kind_of(dataset) else LATE if late else EARLIER if earlier else OTHER)

    def note(self, what: str) -> None:
        """Count a stray."""
        with self._changed:
            self.strays[what] = self.strays.get(what, 0) + 1

    def answer(
        self, uid: str, timeout: float, before: dict[str, int], poll: Callable[[], None] | None = None
    ) -> Dataset:
        """The one object that refers to a series.

        Args:
            uid: of the series.
            timeout: seconds to wait.
            before: strays before it was sent.
            poll: looks for what has come, where nobody brings it.

        Raises:
            AnswerError: if there is none in time, or there are two that differ.
        """
        until = time.monotonic() + timeout
        while True:
            if poll is not None:
                poll()
            with self._changed:
                left = until - time.monotonic()
                if self._changed.wait_for(lambda: self._expected[uid], max(min(left, SETTLE if poll else left), 0.0)):
                    break
                if left <= 0:
                    break
        if self._expected[uid]:
            self._settle(uid)
            if poll is not None:
                poll()
        found = [dataset for dataset, _ in self._expected[uid]]
        if not found:
            others = {what: count - before.get(what, 0) for what, count in self.strays.items()}
            told = ", ".join(f"{count} that {what}" for what, count in others.items() if count)
            told = f"; there came {told}" if told else ""
            raise AnswerError(f"the node did not answer within {timeout:g} s{told}.")
        first, *more = {str(each.SOPInstanceUID): each for each in found}.values()
        if any(_content(each) != _content(first) for each in more):
            raise AnswerError(f"the node answered {len(more) + 1} times, and differently.")
        return first

    def _settle(self, uid: str) -> None:
        """Wait until what has brought an answer is done, so that a second one is noticed."""
        until = time.monotonic() + LONGEST
        while any(is_open() for _, is_open in self._expected[uid]) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(SETTLE)


def _content(dataset: Dataset) -> Any:
    """What an object says, less what is new in every object that says it: pixels of a SEG, all of another one."""
    if kind_of(dataset) == "DICOM SEG":
        return dataset.get("PixelData")
    told = Dataset({tag: element for tag, element in dataset.items() if tag.group > 2})
    for name in (*UNTOLD, "SeriesInstanceUID"):
        if name in told:
            del told[name]
    return told.to_json(suppress_invalid_tags=True)
