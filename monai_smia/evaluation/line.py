"""The one line that shows how far an evaluation is: case, row, rows done, time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType

from tqdm.auto import tqdm

from monai_smia.evaluation.pace import Pace
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.records import COMPUTED, Record

FORM = "{desc}{percentage:3.0f}%|{bar:16}| {n_fmt}/{total_fmt} rows{postfix}"
EVERY = 0.5  # seconds
LONGEST = 48  # of what is being done, in characters


class ProgressLine:
    """A progress bar over rows whose time left comes from a `Pace`, so that it is known before the first row ends.

    Args:
        pace: what rows take.
        show: False shows nothing.

    Example:
        >>> with ProgressLine(Pace(), show=False) as line:
        ...     line.resume([], 2 * [PlannedAttack()])
        ...     line.begin("case1", PlannedAttack())
        ...     line.end()
        ...     line.done, line.rows
        (1, 2)
    """

    def __init__(self, pace: Pace, *, show: bool) -> None:
        self.pace, self.show = pace, show
        self.done = 0
        self.todo: Counter[PlannedAttack] = Counter()  # for how many cases each row is to be done
        self._row: PlannedAttack | None = None
        self._start = self._shown = 0.0
        self._bar = tqdm(total=0, bar_format=FORM, disable=not show, dynamic_ncols=True, delay=1e-3)

    @property
    def rows(self) -> int:
        """How many there are, done or not."""
        return self.done + self.todo.total()

    def resume(self, known: Sequence[Record], todo: Iterable[PlannedAttack]) -> None:
        """Say what was done before and what is to be done.

        Args:
            known: records that are there already, which say what their rows took.
            todo: one row for every case that it is to be done for.
        """
        for record in known:
            if record.stage == COMPUTED and record.costs.seconds is not None:
                self.pace.remember(record.row.slug, record.costs.seconds)
        self.done, self.todo = len({(record.case, record.row.slug) for record in known}), Counter(todo)

    def begin(self, case: str, row: PlannedAttack) -> None:
        """Say which row of which case is under way."""
        self._row, self._start = row, time.perf_counter()
        key = row.key()
        what = ", ".join(part for part in (case, " ".join(p for p in (key.title, key.setting_label) if p)) if part)
        self._bar.set_description(what if len(what) <= LONGEST else f"{what[: LONGEST - 3]}...", refresh=False)
        self._refresh()

    def tick(self) -> None:
        """A step of the row is done: count the time left down."""
        if time.perf_counter() - self._shown > EVERY:
            self._refresh()

    def end(self) -> None:
        """The row is done."""
        assert self._row is not None
        self.pace.note(self._row, time.perf_counter() - self._start)
        self.drop([self._row])
        self.done += 1
        self._row = None
        self._refresh()

    def drop(self, rows: Iterable[PlannedAttack]) -> None:
        """These rows of a case will not be done."""
        self.todo -= Counter(rows)
        self._row = None

    def _refresh(self) -> None:
        spent = 0.0 if self._row is None else time.perf_counter() - self._start
        expected = 0.0 if self._row is None else self.pace.expected(self._row)
        left = self.pace.left(self.todo) - min(spent, expected)
        self._bar.total, self._bar.n = self.rows, self.done
        text = f"{tqdm.format_interval(round(left))} left" if left > 0 else ""
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()
        self._shown = time.perf_counter()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # rows of rounds that were not needed are none
            self.todo.clear()
            self._refresh()
        self._bar.close()
