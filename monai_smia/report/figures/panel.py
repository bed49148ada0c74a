"""Shared by the pictures of all tasks: panels, and a figure that is saved complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from monai_smia.files import replacing
from monai_smia.records import RowKey

TRUTH, DECISION = "#00c8ff", "#ff5050"
WINDOWS = {"HU": (-1000.0, 400.0)}  # gray values by the unit of the image


class Panel(NamedTuple):
    """A case under one attack.

    Args:
        row: the attack.
        image: adversarial image ``(C, *spatial)``.
        decision: what was decided on it.
    """

    row: RowKey
    image: Tensor
    decision: Any

    @property
    def bound(self) -> float:
        """The radius in the unit of the image; 1 where there is none, so that a change can be drawn."""
        return 1.0 if self.row.eps_input is None else float(self.row.eps_input)

    def title(self, radius: str) -> str:
        """Attack, loss, radius as it is written, and setting."""
        setting = f"({self.row.setting_label})" if self.row.setting else ""
        return " ".join(part for part in (self.row.attack, self.row.loss, radius, setting) if part)


@contextmanager
def saved_figure(path: Path, size: tuple[float, float], dpi: int = 110) -> Iterator[Figure]:
    """An empty figure that becomes a PNG file once the block has drawn it.

    Args:
        path: PNG to write; its folder is made.
        size: width and height in inches.
        dpi: dots per inch.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "figures" / "line.png"
        >>> with saved_figure(path, (2, 1)) as figure:
        ...     _ = figure.subplots().plot([0, 1])
        >>> path.is_file()
        True
    """
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    yield figure
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")


def show(axis: Any, picture: Any, title: str, fontsize: float, pad: float = 3, **options: Any) -> Any:
    """Draw a picture with its title and without axes."""
    drawn = axis.imshow(picture, **options)
    axis.set_title(title, fontsize=fontsize, pad=pad)
    axis.set_axis_off()
    return drawn
