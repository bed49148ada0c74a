"""Files of a storage by what they are named for."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

CONTINUED = re.compile(r"[A-Za-z0-9]|\.\d")  # what goes on with a name or a number: eps0.05 is no beginning of eps0.055


def files_by_stem(folder: Path, stems: Collection[str]) -> dict[str, list[Path]]:
    """The files and folders of a storage, each by the longest of the stems that its name begins with.

    Args:
        folder: of the storage; one that does not exist holds nothing.
        stems: beginnings of names, see `monai_smia.storage.Storage`; what begins with none of them is left out.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a_bim_eps0.05_adversarial.png", "a_bim_eps0.055_adversarial.png"):
        ...     (folder / name).touch()
        >>> [path.name for path in files_by_stem(folder, {"a_bim_eps0.05"})["a_bim_eps0.05"]]
        ['a_bim_eps0.05_adversarial.png']
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = path.name
        for end in range(len(name), 0, -1):
            if name[:end] in stems and not CONTINUED.match(name, end):
                found.setdefault(name[:end], []).append(path)
                break
    return found
