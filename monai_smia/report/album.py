"""Pictures of a page: within it as far as they fit, the others by links to their files beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LARGEST = 8_000_000  # bytes of a page
TEXT = 800_000  # of these for what is no picture: tables, sentences, charts' descriptions


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Args:
        text: what it shows.
        data: the file as base64; empty where there was no room.
        link: the file, from the page on.
    """

    text: str
    data: str
    link: str


@dataclass
class Album:
    """Takes pictures into a page while there is room, in the order in which they are given.

    Args:
        page: the page's folder, that links begin at.
        left: characters that pictures may still have.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.png").write_bytes(b"123456")
        >>> album = Album(folder, left=10)
        >>> [album.picture("worst", folder / "a.png").data for _ in range(2)], album.left
        (['MTIzNDU2', ''], 2)
    """

    page: Path
    left: int = LARGEST - TEXT

    def reserve(self, pictures: Iterable[str]) -> None:
        """Room for pictures that stand in the page whatever there is."""
        self.left -= sum(map(len, pictures))

    def picture(self, text: str, path: Path) -> Picture:
        """The picture of a file, with its data where there is room for it."""
        link = path.relative_to(self.page).as_posix()
        if 4 * path.stat().st_size > 3 * self.left:  # as base64
            return Picture(text, "", link)
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        self.left -= len(data)
        return Picture(text, data, link)
