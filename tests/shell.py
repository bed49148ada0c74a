"""``python -m monai.bundle run ...`` as a shell runs it, in a fork of this process, which has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai.bundle
import torch


@dataclass(frozen=True)
class Done:
    """What a command came to.

    Args:
        status: exit status, negative where a signal has ended it.
        out: standard output.
        err: standard error.
    """

    status: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line that is said."""
        return (self.err.strip() or self.out.strip()).splitlines()[-1]


def started(arguments: Sequence[Any], folder: Path, cwd: Path | None = None) -> Any:
    """The process of a command, and where its output goes."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=([*map(str, arguments)], folder, cwd))
    process.start()
    return process


def shell(arguments: Sequence[Any], folder: Path, cwd: Path | None = None) -> Done:
    """Run a command to its end; its output is kept in a folder."""
    process = started(arguments, folder, cwd)
    process.join()
    return ended(process, folder)


def ended(process: Any, folder: Path) -> Done:
    """What a process that has ended came to."""
    return Done(process.exitcode, *((folder / name).read_text() for name in ("stdout.txt", "stderr.txt")))


def _run(arguments: list[str], folder: Path, cwd: Path | None) -> None:
    """As the interpreter does it, from the arguments to the exit status."""
    for name, stream in (("stdout.txt", 1), ("stderr.txt", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
    torch.set_num_threads(1)  # threads do not come along
    sys.argv = [str(Path(monai.bundle.__file__).with_name("__main__.py")), "run", *arguments]
    sys.excepthook = sys.__excepthook__
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.resetwarnings()
    if cwd is not None:
        os.chdir(cwd)
    status = 0
    try:
        runpy.run_module("monai.bundle", run_name="__main__")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(bool(error.code))
        if not isinstance(error.code, (int, type(None))):
            print(error.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 130 if isinstance(sys.exc_info()[1], KeyboardInterrupt) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
