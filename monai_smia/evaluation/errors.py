"""Named errors of an evaluation."""

from __future__ import annotations

import errno
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import torch

from monai_smia.evaluation.private import without_private
from monai_smia.files import WriteError
from monai_smia.records import Failure

LOGGER = logging.getLogger(__name__)


class OutputError(RuntimeError):
    """The output folder cannot be written; the evaluation stops, and goes on where it was once it can."""


class DiskFullError(OutputError):
    """The disk is full; the evaluation stops, and goes on where it was once there is room."""


class MachineError(RuntimeError):
    """Something of the machine failed again and again, such as the GPU; no case is recorded as failed for it."""


class LockedError(RuntimeError):
    """Another run has the output folder."""


class LostWorkerError(RuntimeError):
    """Another process of the evaluation is gone, or records that it should have left are missing."""


class FailedCasesError(RuntimeError):
    """Some cases could not be evaluated; everything else is done and written."""


class ConfigurationError(ValueError):
    """The output folder holds records of another configuration."""


class DisagreementError(ValueError):
    """The victim that is attacked and the pipeline that makes the figures decide differently on a clean case."""


DISK_FULL = "disk full"
OUT_OF_MEMORY = "out of memory"
UNREADABLE = "unreadable file"
INVALID = "invalid case"
OTHER = "error"
MACHINE = "machine"
TRY_AGAIN = (OUT_OF_MEMORY, MACHINE)  # not of the case: tried again at once, and when the evaluation is resumed
TRIES = 3
DEVICE = ("CUDA error", "CUDA driver", "cuDNN", "CUDNN_STATUS", "CUBLAS_STATUS", "CUSOLVER_STATUS", "HIP error", "NCCL")
NO_MEMORY = ("can't allocate memory", "out of memory", "_ALLOC_FAILED")
PASSING = (errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENETDOWN, errno.EHOSTDOWN)
FULL = (errno.ENOSPC, errno.EDQUOT)
PACKAGE = Path(__file__).parents[1]
Found = TypeVar("Found")


def check_failures(failures: Sequence[Failure], cases: int) -> None:
    """Raise where cases of an evaluation failed.

    Raises:
        FailedCasesError: with the reason of each.
    """
    if failures:
        reasons = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures)
        raise FailedCasesError(f"{len(failures)} of {cases} cases failed: {reasons}")


def cause_of(error: BaseException) -> BaseException:
    """The error that others were raised from: MONAI's "applying transform ..." says nothing of the file."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def kind_of(error: BaseException) -> str:
    """One of the names above.

    Example:
        >>> kind_of(OSError(errno.ENOSPC, "No space left on device")), kind_of(ValueError("label ..."))
        ('disk full', 'invalid case')
    """
    error = cause_of(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return DISK_FULL
    text = str(error) if isinstance(error, RuntimeError) else ""
    memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or getattr(error, "errno", None) == errno.ENOMEM
    if memory or any(part in text for part in NO_MEMORY):
        return OUT_OF_MEMORY
    if any(part in text for part in DEVICE) or (isinstance(error, OSError) and error.errno in PASSING):
        return MACHINE
    if isinstance(error, (OSError, EOFError)) or "ImageFileError" in type(error).__name__:
        return UNREADABLE
    return INVALID if isinstance(error, ValueError) else OTHER


def failure_of(case: str, error: Exception, files: Sequence[str | Path] = ()) -> Failure:
    """What is recorded of a case that ended in an error: no folder, which may be named after a patient, and no UID.

    Args:
        case: its name.
        error: that ended it.
        files: of the case.

    Raises:
        OutputError: if the output could not be written, which is no case's fault.
        MachineError: if something of the machine failed, which is not, either.
        DisagreementError: if it is one, which is that of all.

    Example:
        >>> failure_of("a", ValueError("label ...")).kind
        'invalid case'
    """
    if isinstance(error, DisagreementError):
        raise error
    with output_trouble():
        if kind_of(error) == DISK_FULL or any(isinstance(each, WriteError) for each in chain_of(error)):
            raise error
    if kind_of(error) == MACHINE:
        raise MachineError(
            f"the machine failed {TRIES} times ({reason_of(error)}), which is no fault of {case}; run the same command "
            "again once that is mended: what is done is kept."
        ) from error
    reason, names = reason_of(error), [Path(file).name for file in files]
    if kind_of(error) == UNREADABLE and names and not any(name in reason for name in names):
        reason = f"{reason} (one of {', '.join(names)})"
    return Failure(case, kind_of(error), without_private(reason, files))


@contextmanager
def output_trouble() -> Iterator[None]:
    """What the operating system refuses to write within the block ends the run with a sentence.

    Raises:
        DiskFullError: if there is no room.
        OutputError: if a file cannot be written for another reason.

    Example:
        >>> with output_trouble():
        ...     raise WriteError(errno.EROFS, "figures/a.png cannot be written: Read-only file system")
        Traceback (most recent call last):
        monai_smia.evaluation.errors.OutputError: figures/a.png cannot be written: Read-only file system; ...
    """
    try:
        yield
    except Exception as error:
        found = next((each for each in chain_of(error) if isinstance(each, WriteError)), None)
        if kind_of(error) == DISK_FULL:
            reason = found.strerror if found is not None else reason_of(error)
            raise DiskFullError(
                f"the disk is full ({reason}); make room and run the same command again: what is done is kept."
            ) from error
        if found is None:
            raise
        raise OutputError(
            f"{found.strerror}; mend that and run the same command again: what is done is kept."
        ) from error


@contextmanager
def memory_trouble() -> Iterator[None]:
    """Memory that runs out beside the cases, as for tables or the report, ends the run with a sentence.

    Raises:
        MachineError: if it does.

    Example:
        >>> with memory_trouble():
        ...     raise MemoryError("no room")
        Traceback (most recent call last):
        monai_smia.evaluation.errors.MachineError: the machine ran out of memory (MemoryError: no room); run ...
    """
    try:
        yield
    except Exception as error:
        written = any(isinstance(each, WriteError) for each in chain_of(error))
        if written or isinstance(error, (FailedCasesError, MachineError)) or kind_of(error) != OUT_OF_MEMORY:
            raise
        raise MachineError(
            f"the machine ran out of memory ({reason_of(error)}); run the same command again once there is some: what "
            "is done is kept."
        ) from error


def tried_again(work: Callable[[], Found]) -> Found:
    """What a function returns, which is called again where the machine lets it down: the device, or its memory.

    Example:
        >>> calls = iter([RuntimeError("CUDA error: unspecified launch failure"), 7])
        >>> def work():
        ...     found = next(calls)
        ...     if isinstance(found, Exception):
        ...         raise found
        ...     return found
        >>> tried_again(work)
        7
    """
    for _ in range(TRIES - 1):
        try:
            return work()
        except Exception as error:
            if kind_of(error) not in TRY_AGAIN or any(isinstance(each, WriteError) for each in chain_of(error)):
                raise
            LOGGER.warning("%s: tried again.", reason_of(error))
        release_memory()
    return work()


def release_memory() -> None:
    """Let go of what nobody holds any more, on the device, too."""
    gc.collect()
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # a device that has failed says so again
            torch.cuda.empty_cache()


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from, the last one first."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__


def reason_of(error: BaseException) -> str:
    """The cause in one line."""
    error = told_by(error)
    return f"{type(error).__name__}: {error}"


def told_by(error: BaseException) -> BaseException:
    """The error that says what is wrong with what: the first that this package has raised, else the first of all."""
    ours = [each for each in chain_of(error) if is_ours(each)]
    return ours[-1] if ours else cause_of(error)


def is_ours(error: BaseException) -> bool:
    """Whether a line of this package has raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(PACKAGE)
