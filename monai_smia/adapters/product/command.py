"""A product that is a command: it reads a file or a series and writes a mask, a DICOM object or JSON."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from monai_smia.adapters.product.answers import answer_of
from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.queries import Query

PLACES = ("{input}", "{input_folder}", "{output}", "{output_folder}")
SHELL = ("|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1")  # what a shell would take for itself
SAID = 400  # characters of standard error that are told


@dataclass(frozen=True)
class Command:
    """Runs a command for every query, without a shell.

    In its arguments stand ``{input}`` (the NIfTI file, or the folder of the DICOM series) or ``{input_folder}`` (what
    holds it, for commands that take a folder), and ``{output}`` (a file ``answer.nii.gz``, of a finding
    ``answer.json``) or ``{output_folder}`` (a folder into which it writes one NIfTI file, DICOM SEG or RTSTRUCT, of a
    finding one of JSON or an SR).

    Args:
        arguments: the program first.
        timeout: seconds that one answer may take; then the command and all that it has started are ended.
        answers: what they are: `Masks`, or a `Finding`.

    Raises:
        ValueError: if the arguments name no input or no output, or the limit is no time.

    Example:
        >>> Command(("TotalSegmentator", "-i", "{input}", "-o", "{output}", "--ml")).arguments[0]
        'TotalSegmentator'
    """

    arguments: tuple[str, ...]
    timeout: float = 600.0
    answers: Masks | Finding = field(default_factory=Masks)

    def __post_init__(self) -> None:
        given = self.arguments
        if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(a, str) for a in given):
            raise ValueError(f"command must be a list of arguments, the program first, got {given!r}.")
        object.__setattr__(self, "arguments", tuple(given))
        if shells := [each for each in given if each in SHELL]:
            raise ValueError(f"command has {shells[0]!r} in it, and no shell runs it: put that into a script of yours.")
        for kind in ("input", "output"):
            if not any(f"{{{kind}}}" in each or f"{{{kind}_folder}}" in each for each in given):
                raise ValueError(f"command must have {{{kind}}} or {{{kind}_folder}} in its arguments, got {given!r}.")
        if not isinstance(self.timeout, (int, float)) or not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout must be a number of seconds > 0, got {self.timeout!r}.")

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        """What the command writes for a query: a label map, or what its finding reads.

        Args:
            query: what is asked; its file or series lies in the folder.
            folder: scratch folder, of this query alone.
            classes: that an answer may hold.

        Raises:
            AnswerError: if it fails, takes too long, or its answer does not fit.
        """
        output = folder / "output"
        output.mkdir()
        places = dict(zip(PLACES, (query.path, query.path.parent, output / self.answers.file, output), strict=True))
        filled = list(self.arguments)
        for place, path in places.items():
            filled = [argument.replace(place, str(path)) for argument in filled]
        since = time.time_ns()
        self._run(filled, folder)
        return answer_of(output, query, classes, since=since, kind=self.answers)

    def _run(self, arguments: list[str], folder: Path) -> None:
        said = folder / "stderr.txt"
        with said.open("wb") as errors:
            try:
                process = subprocess.Popen(
                    arguments, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
                )
            except OSError as error:
                raise AnswerError(f"command {arguments[0]!r} cannot be run: {error.strerror or error}.") from error
            try:
                status = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                raise AnswerError(f"the command took longer than {self.timeout:g} s.{_told(said)}") from None
            finally:
                _end(process)
        if status != 0:
            raise AnswerError(f"the command ended with status {status}.{_told(said)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it has started."""
    with suppress(ProcessLookupError, PermissionError):  # all are gone
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _told(path: Path) -> str:
    text = " ".join(path.read_text(errors="replace").split())
    return f" It said: {text[-SAID:]}" if text else ""
