"""Asking a product: every query is counted, recorded before its answer is used, and asked once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from monai_smia.adapters.product.errors import AnswerError, QueryLimitError
from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.queries import Query, Source
from monai_smia.checks import check_switch
from monai_smia.evaluation.fingerprint import describe
from monai_smia.evaluation.plain import canonical, sha256
from monai_smia.files import replacing, write_text

JOURNAL = "queries.jsonl"
SCRATCH = "scratch"
REPEATS = "repeats.json"


class Product(Protocol):
    """What is asked, such as a `Command`.

    Where it has an attribute `answers`, `Masks` or a `Finding`, that says what its answers are; else label maps.
    """

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        """The label map of a query, in the query's axes, or what its `Finding` reads.

        Args:
            query: what is asked; its file or series lies in the folder.
            folder: scratch folder, of this query alone.
            classes: that an answer may hold.

        Raises:
            AnswerError: if there is no answer that fits.
        """


class Asking:
    """Asks a product about images of one case after the other.

    An answer is kept under the hash of what was asked, of the product and of the number of classes, and what was asked
    before is not asked again: a run that was killed goes on and loses the query under way. Every query stands in
    ``queries.jsonl`` before it is asked, with its hash, and then with its seconds and what came of it. What a query
    needs of files lies in a scratch folder of its own, which is removed whatever happens; those that a kill has left go
    when an evaluation begins again.

    Args:
        product: what is asked.
        classes: of its label maps, with the background.
        folder: for answers, journal and scratch; None for a temporary one, which goes with this object.
        most: queries that may be asked in all, earlier runs included; None without a limit.
        jobs: queries at once.
        identified: derive from DICOM series that do not say that they are de-identified.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        product: Product,
        classes: int,
        folder: Path | None = None,
        *,
        most: int | None = None,
        jobs: int = 1,
        identified: bool = False,
    ) -> None:
        for name, value, least in (("classes", classes, 2), ("most", most, 1), ("jobs", jobs, 1)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}.")
        check_switch("identified", identified)
        self.product, self.classes, self.most, self.jobs, self.identified = product, classes, most, jobs, identified
        self.kind: Masks | Finding = getattr(product, "answers", None) or Masks()
        self.kind.check(classes)
        self._own = tempfile.TemporaryDirectory(prefix="monai_smia_") if folder is None else None
        self.folder = Path(self._own.name) if self._own is not None else Path(folder or "")
        self.key = sha256(canonical([describe(product), classes]).encode())
        self.source: Source | None = None
        self.case = ""
        self._given: Any = None
        self._lock = threading.Lock()  # of the journal: several queries may be under way

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its answers, for the fingerprint of records."""
        return {"product": self.product, "classes": self.classes}

    def open(self, source: Any, case: str = "") -> Source:
        """Go on with the images of a case.

        Args:
            source: its NIfTI file, or its DICOM series.
            case: its name, for the journal.
        """
        if self.source is None or self._given != source:
            self.source, self._given = Source(source, identified=self.identified), source
        self.case = case
        return self.source

    @property
    def asked(self) -> int:
        """Queries that the product was asked, earlier runs included."""
        return sum("asked" in line for line in self._lines())

    def _strays(self) -> dict[str, int]:
        """What has come back and was no answer, counted, of a product that knows."""
        return dict(getattr(self.product, "strays", {}))

    def _lines(self) -> list[dict[str, Any]]:
        """The journal, less a last line that a kill has cut off."""
        journal, found = self.folder / JOURNAL, []
        for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def answer(self, stored: np.ndarray, *, again: bool = False) -> np.ndarray:
        """The label map, or finding, of stored values of the open case.

        Args:
            stored: as `Source.stored` gives them.
            again: ask though it was asked before.

        Raises:
            AnswerError: if the product has no answer that fits.
            QueryLimitError: if it would be a query too many.
        """
        assert self.source is not None
        digest = self.source.sha256(stored)
        kept = self.folder / "answers" / f"{sha256(f'{self.key} {digest}'.encode())}.npz"
        known = None if again else _read(kept)
        if known is not None:
            return known
        with self._lock:
            number = self.asked + 1
            if self.most is not None and number > self.most:
                raise QueryLimitError(f"the limit of {self.most} queries is reached: no more is asked.")
            self._write({"query": number, "asked": digest, "case": self.case})
        start, came, before = time.perf_counter(), "ended", self._strays()
        try:
            with self._scratch() as folder:
                query = self.source.write(stored, folder, "A query of a black-box test.")
                if query.series is not None:
                    self._note({"query": number, "series": query.series.uid})
                labels = self.product.ask(query, folder, self.classes)
            came = "answered"
        except AnswerError as error:
            came = f"refused: {error}"
            raise
        except Exception as error:
            came = f"failed: {type(error).__name__}"
            raise
        finally:
            line = {"query": number, "seconds": round(time.perf_counter() - start, 3), "came": came}
            strays = {what: count - before.get(what, 0) for what, count in self._strays().items()}
            self._note(line | ({"strays": found} if (found := {w: n for w, n in strays.items() if n}) else {}))
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not again:
            with replacing(kept) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, labels=labels)
        return labels

    def answers(self, stored: list[np.ndarray]) -> list[np.ndarray]:
        """The answers to several, as many at once as `jobs` says."""
        if len(stored) == 1 or self.jobs == 1:
            return [self.answer(each) for each in stored]
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(self.answer, stored))

    def prediction(self, answer: np.ndarray) -> Tensor:
        """An answer as a victim predicts it, float32: a label map ``(1, 1, *spatial)``, or scores ``(1, K)``."""
        if isinstance(self.kind, Finding):
            answer = self.kind.scores(answer, self.classes)
            return torch.from_numpy(answer.astype(np.float32))[None]
        return torch.from_numpy(answer.astype(np.float32))[None, None]

    def repeated(self, times: int = 2) -> float:
        """Ask about the open case's clean image again: the least share of voxels that two answers have alike.

        Of a case that was asked about in an earlier run, once more: answers of two versions are never mixed.

        Raises:
            AnswerError: if the product, which gave the same answer again and again, gives another one now.
        """
        assert self.source is not None
        key, path = f"{self.key} {self.source.sha256(self.source.before)} {times}", self.folder / REPEATS
        known: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if key in known:
            again = self.answer(self.source.before, again=True)
            if known[key] == 1 and not np.array_equal(again, self.answer(self.source.before)):
                raise AnswerError(
                    "the product answers otherwise than in the run that is gone on with, and did not vary then: is it "
                    "another version? Start anew, into another output_dir."
                )
        else:
            first = self.answer(self.source.before)
            others = [self.answer(self.source.before, again=True) for _ in range(times - 1)]
            known[key] = min(float((other == first).mean()) for other in others)
            write_text(path, json.dumps(known))
        return known[key]

    def begin(self, *, anew: bool = False) -> None:
        """Remove what a run that was killed has left of scratch, and know the series that it has sent.

        Args:
            anew: remove the answers that are kept, too; the journal stays, and counts.
        """
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)
        if hasattr(self.product, "asked_before"):
            self.product.asked_before(str(line["series"]) for line in self._lines() if "series" in line)
        if anew:
            shutil.rmtree(self.folder / "answers", ignore_errors=True)
            (self.folder / REPEATS).unlink(missing_ok=True)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = self.folder / SCRATCH / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _note(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        """Write a line, by one thread at a time, whole, after one that a kill has cut off."""
        self.folder.mkdir(parents=True, exist_ok=True)
        journal = self.folder / JOURNAL
        with journal.open("a+b") as file:
            if file.tell():  # a line that a kill has cut off is ended
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read(1) == b"\n" else b"\n")
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


class Asked(nn.Module):
    """An `Asking` where a network is expected.

    From images ``(B, 1, *spatial)`` to label maps of the same shape, or, of findings, to one score a class ``(B, K)``.
    """

    def __init__(self, asking: Asking) -> None:
        super().__init__()
        self.asking = asking

    def forward(self, image: Tensor) -> Tensor:
        """The label maps, or the scores.

        Raises:
            ValueError: if no case is open, or the images lie on another grid than it.
        """
        source = self.asking.source
        if source is None:
            raise ValueError("the product must be told which case an image is of: open(file) first.")
        if tuple(image.shape[1:]) != (1, *source.before.shape):
            raise ValueError(f"image {tuple(image.shape)} must be of shape (B, 1) + {source.before.shape}.")
        clean = torch.from_numpy(source.values()).to(image)
        stored = [source.stored((each[0] - clean).cpu().numpy()) for each in image.detach()]
        return torch.cat([self.asking.prediction(answer) for answer in self.asking.answers(stored)]).to(image)


def _read(path: Path) -> np.ndarray | None:
    """An answer that is kept; None where there is none that is whole."""
    try:
        with np.load(path) as file:
            return np.asarray(file["labels"])
    except FileNotFoundError:
        return None
    except Exception:  # a file that a kill has cut off
        path.unlink(missing_ok=True)
        return None
