"""What comes back is matched by the series that it refers to; all else is counted by what is wrong with it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from dicom_files import planes, save
from product_objects import number, query_of, report_of, structures_of
from pydicom import Dataset

from monai_smia.adapters.product import AnswerError
from monai_smia.adapters.product import inbox as module
from monai_smia.adapters.product.inbox import EARLIER, LATE, NONE, OTHER, Inbox
from monai_smia.adapters.product.queries import Query


@pytest.fixture
def query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Query:
    monkeypatch.setattr(module, "SETTLE", 0.05)
    save(planes(np.random.default_rng(0).integers(10, 2000, (12, 10, 8))), tmp_path / "series")
    return query_of(tmp_path / "series", tmp_path / "scratch")


def test_strays_are_counted_by_what_is_wrong_with_them(query: Query) -> None:
    assert query.series is not None
    inbox, uid, answer = Inbox(), query.series.uid, structures_of(query.series)
    inbox.take(answer)  # nobody has asked
    inbox.asked_before([uid])
    inbox.take(answer)
    before = inbox.expect(uid)
    inbox.take(Dataset())
    with pytest.raises(AnswerError, match=f"did not answer within 0.1 s; there came 1 that {NONE}"):
        inbox.answer(uid, 0.1, before)
    inbox.give_up(uid)
    inbox.take(answer)
    assert inbox.strays == {OTHER: 1, EARLIER: 1, NONE: 1, LATE: 1}


def test_an_answer_is_waited_for_and_one_that_comes_twice_is_compared(query: Query) -> None:
    assert query.series is not None
    series, uid = query.series, query.series.uid
    inbox = Inbox()
    first = report_of(series, number(1.0))
    threading.Timer(0.2, lambda: inbox.take(first)).start()
    start = time.monotonic()
    assert inbox.answer(uid, 20.0, inbox.expect(uid)) is first
    assert 0.1 < time.monotonic() - start < 15
    for second, differs in ((report_of(series, number(1.0)), False), (report_of(series, number(2.0)), True)):
        before = inbox.expect(uid)
        inbox.take(first)
        inbox.take(second)
        if differs:
            with pytest.raises(AnswerError, match="answered 2 times, and differently"):
                inbox.answer(uid, 1.0, before)
        else:
            assert inbox.answer(uid, 1.0, before) is first
