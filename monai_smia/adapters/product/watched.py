"""A folder that results are written into by somebody else: an archive's export, a router, the product itself."""

from __future__ import annotations

from pathlib import Path

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.inbox import Inbox
from monai_smia.adapters.product.references import read_object
from monai_smia.dicom import looks_like_dicom

DAMAGED = "cannot be read"
Stamp = tuple[int, int]


class WatchedFolder:
    """New DICOM files of a folder, at any depth, each taken once it is whole and no longer grows.

    What lay there before is left alone: it is the answer to something else. Nothing is moved or removed.

    Args:
        folder: to watch; it has to be there.
        inbox: what takes the objects.

    Raises:
        ValueError: if there is no such folder.
    """

    def __init__(self, folder: Path, inbox: Inbox) -> None:
        if not folder.is_dir():
            raise ValueError(f"watch must be a folder that is there, got {str(folder)!r}.")
        self.folder, self.inbox = folder, inbox
        self._known = self._stamps()
        self._growing: dict[Path, Stamp] = {}

    def _stamps(self) -> dict[Path, Stamp]:
        found = {}
        for path in sorted(self.folder.rglob("*")):
            try:
                if path.is_file():
                    found[path] = (path.stat().st_size, path.stat().st_mtime_ns)
            except OSError:  # it was moved while it was looked at
                continue
        return found

    def poll(self) -> None:
        """Take what is new and looks as it did at the last look."""
        for path, stamp in self._stamps().items():
            if self._known.get(path) == stamp:
                continue
            if self._growing.get(path) != stamp:
                self._growing[path] = stamp
                continue
            try:
                if not looks_like_dicom(path):
                    raise AnswerError("it is no DICOM")
                dataset = read_object(path)
            except (
                AnswerError,
                OSError,
            ):  # half of a file may wait for the rest; it is looked at again when it changes
                self.inbox.note(DAMAGED)
            else:
                self.inbox.take(dataset)
            self._known[path] = stamp
