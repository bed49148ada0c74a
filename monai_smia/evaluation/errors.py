"""Named errors of an evaluation."""

from __future__ import annotations

import errno

import torch

from monai_smia.records import Failure


class DiskFullError(RuntimeError):
    """The disk is full; the evaluation stops, and goes on where it was once there is room."""


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
TRY_AGAIN = (OUT_OF_MEMORY,)  # of the machine, not of the case: tried again when the evaluation is resumed


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
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return OUT_OF_MEMORY
    if isinstance(error, (OSError, EOFError)) or "ImageFileError" in type(error).__name__:
        return UNREADABLE
    return INVALID if isinstance(error, ValueError) else OTHER


def failure_of(case: str, error: Exception) -> Failure:
    """What is recorded of a case that ended in an error.

    Raises:
        DiskFullError: if the disk is full, which is no case's fault.
        DisagreementError: if it is one, which is not, either.

    Example:
        >>> failure_of("a", ValueError("label ...")).kind
        'invalid case'
    """
    if isinstance(error, DisagreementError):
        raise error
    if kind_of(error) == DISK_FULL:
        raise DiskFullError(
            f"the disk is full ({reason_of(error)}); make room and run the same command again: what is done is kept."
        ) from error
    return Failure(case, kind_of(error), reason_of(error))


def reason_of(error: BaseException) -> str:
    """The cause in one line."""
    error = cause_of(error)
    return f"{type(error).__name__}: {error}"
