"""Products as victims: their predictions are label maps or findings, and every prediction is a query."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from monai_smia.adapters.product.asking import Asked, Asking
from monai_smia.adapters.product.command import Command
from monai_smia.adapters.product.kinds import Masks
from monai_smia.adapters.product.node import DicomNode
from monai_smia.victims.choice import Choice
from monai_smia.victims.classification import ClassificationVictim
from monai_smia.victims.label_map import LabelMapVictim


@dataclass(kw_only=True, eq=False)
class ProductVictim(LabelMapVictim):
    """A product of which answers alone are known, as a victim.

    Args:
        network: an `Asked`.

    The other arguments are those of `LabelMapVictim`.
    """

    differentiable: ClassVar[bool] = False

    @property
    def asking(self) -> Asking:
        """What asks it."""
        network: Any = self.network
        asking: Asking = network.asking
        return asking

    def open(self, source: Any) -> None:
        """Say which case the next images are of: its NIfTI file, or its DICOM series."""
        self.asking.open(source)


@dataclass(kw_only=True, eq=False)
class FindingVictim(ClassificationVictim):
    """A product that says something of the whole image, a probability, a measurement or a class, as a victim.

    The decision is that of the product's `Finding`: by the reader's threshold, or the class that it names. The margin,
    which is the loss, is how far its number is from the threshold; a product that names a class alone has none.

    Args:
        network: an `Asked` of a product whose `answers` are a `Finding`.

    The other arguments are those of `ClassificationVictim`; the loss is ``"margin"``.

    Example:
        >>> from monai_smia.adapters.product.kinds import Finding
        >>> command = Command(("rate", "{input}", "{output}"), answers=Finding("malignancy", threshold=0.5))
        >>> victim = FindingVictim(Asked(Asking(command, 2)))
        >>> victim.open("ct.nii.gz")  # doctest: +SKIP
        >>> Square(eps=20.0, clip=None, loss="margin")(victim, image, torch.tensor([1]))  # doctest: +SKIP
    """

    differentiable: ClassVar[bool] = False

    loss: Choice = Choice("margin")

    @property
    def asking(self) -> Asking:
        """What asks it."""
        network: Any = self.network
        asking: Asking = network.asking
        return asking

    def open(self, source: Any) -> None:
        """Say which case the next images are of: its NIfTI file, or its DICOM series."""
        self.asking.open(source)


@dataclass(kw_only=True, eq=False)
class CommandVictim(ProductVictim):
    """A command as a victim: a packaged application, nnU-Net's own command, a container, a vendor's tool.

    Images are asked in whole stored units, as NIfTI files or derived DICOM series; see `Command` for what stands in the
    arguments, and `Asking` for what is kept of the answers. Black-box attacks (`DecisionSearch`, `Square`, `Noise`)
    take it as any victim, once it is told whose image it is.

    Args:
        network: the command, a list of its arguments with ``{input}`` and ``{output}``.
        classes: of its label maps, with the background.
        timeout: seconds that one answer may take.
        folder: for answers and the journal of queries; None for a temporary one.
        most: queries that may be asked; None without a limit.
        jobs: queries at once.
        identified: derive from DICOM series that do not say that they are de-identified.

    The other arguments are those of `LabelMapVictim`.

    Raises:
        ValueError: if an argument is outside its range; in use, an `AnswerError` where an answer does not fit.

    Example:
        >>> victim = CommandVictim(["segment", "{input}", "{output}"], classes=2)
        >>> victim.open("ct.nii.gz")  # doctest: +SKIP
        >>> DecisionSearch(eps=20.0, clip=None)(victim, image, label)  # doctest: +SKIP
    """

    network: Any = field(kw_only=False, repr=False)
    timeout: float = 600.0
    folder: Path | None = None
    most: int | None = None
    jobs: int = 1
    identified: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.network, Asked):
            command = Command(self.network, timeout=self.timeout)
            options: dict[str, Any] = {"most": self.most, "jobs": self.jobs, "identified": self.identified}
            self.network = Asked(Asking(command, self.classes, self.folder, **options))
        super().__post_init__()


@dataclass(kw_only=True, eq=False)
class DicomNodeVictim(ProductVictim):
    """A DICOM node as a victim: derived series out by C-STORE, results in as DICOM SEG or RTSTRUCT.

    Needs the extra ``dicom``.

    Args:
        send_to: ``AE@host:port`` of the product.
        receive_as: ``AE:port`` that its results go to, on this machine's loopback, or ``AE@host:port``.
        watch: folder that its results are written into, in the place of `receive_as`.
        timeout, retries, per_minute: as for `DicomNode`.
        rois: of an RTSTRUCT, names of the regions that are the classes from 1 on; None takes them by their numbers.
        classes, folder, most, identified: as for `CommandVictim`.

    The other arguments are those of `LabelMapVictim`.

    Raises:
        ValueError: if an argument is outside its range; in use, an `AnswerError` where an answer does not fit.

    Example:
        >>> victim = DicomNodeVictim(send_to="LUNGS@127.0.0.1:11112", receive_as="TESTER:11113", classes=2)
        >>> victim.open("ct")  # doctest: +SKIP
        >>> DecisionSearch(eps=20.0, clip=None)(victim, image, label)  # doctest: +SKIP
    """

    network: Any = field(default=None, kw_only=False, repr=False)
    send_to: str
    receive_as: str | None = None
    watch: Path | str | None = None
    rois: tuple[str, ...] | None = None
    timeout: float = 600.0
    retries: int = 2
    per_minute: float | None = None
    folder: Path | None = None
    most: int | None = None
    identified: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.network, Asked):
            options: dict[str, Any] = {"timeout": self.timeout, "retries": self.retries, "per_minute": self.per_minute}
            options |= {"watch": self.watch, "answers": Masks(self.rois)}
            node = DicomNode(self.send_to, self.receive_as, **options)
            asking = Asking(node, self.classes, self.folder, most=self.most, identified=self.identified)
            self.network = Asked(asking)
        super().__post_init__()
