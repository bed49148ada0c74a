"""nnU-Net's own predictor, untouched: it reads, predicts and exports, and every figure is its."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_smia.adapters.nnunet.folder import check_folder, check_installed, check_plain, checkpoint_in, nnunets_own
from monai_smia.adapters.nnunet.labels import Labels
from monai_smia.inferers import MeanNetwork, Tiling

SETTINGS = ("tile_step_size", "use_gaussian", "use_mirroring", "allowed_mirroring_axes", "trainer_name")


@contextmanager
def quiet() -> Iterator[None]:
    """What nnU-Net prints at every step left out; its errors and warnings stay."""
    with redirect_stdout(io.StringIO()):
        yield


def _check_device(device: torch.device | str) -> None:
    try:
        torch.empty(1, device=device)
    except Exception as error:  # of torch, which raises an AssertionError where it has no CUDA
        told = str(error).strip().splitlines()[0]
        raise ValueError(f"device must be one that is here, such as cpu, got {str(device)!r}: {told}") from error


class Deployed:
    """A trained nnU-Net as `nnUNetv2_predict` runs it, in this process.

    Args:
        predictor: an initialized ``nnUNetPredictor``.

    Raises:
        ValueError: if it is not initialized, or is the second stage of a cascade.
    """

    def __init__(self, predictor: Any) -> None:
        if getattr(predictor, "network", None) is None or not getattr(predictor, "list_of_parameters", None):
            raise ValueError(
                "predictor must be an nnUNetPredictor that has its model: call initialize_from_trained_model_folder."
            )
        if predictor.configuration_manager.previous_stage_name is not None:
            raise ValueError(
                "the model is the second stage of a cascade, which is given the first one's segmentation beside the "
                "image: attack its first stage, 3d_lowres, or 3d_fullres."
            )
        self.predictor = predictor
        self.plans, self.configuration = predictor.plans_manager, predictor.configuration_manager
        self.labels = Labels.of_manager(predictor.label_manager)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        folds: Sequence[int | str] | None = None,
        checkpoint: str | None = None,
        device: torch.device | str = "cpu",
        mirroring: bool = True,
        step: float = 0.5,
        trusted: bool = False,
    ) -> Deployed:
        """The model of a folder, see `NNUNetVictim.from_folder`.

        Raises:
            ValueError: if the folder is none of a trained nnU-Net, a fold or a checkpoint is not there, or nnU-Net
                cannot load it; with the reason.
        """
        name = checkpoint_in(Path(folder), checkpoint)
        chosen = check_folder(Path(folder), folds, name)
        check_installed()
        if not trusted:
            check_plain(Path(folder), chosen, name)
        _check_device(device)
        if not 0 < step <= 1:
            raise ValueError(f"step must be a share of the tile in (0, 1], got {step}.")
        with quiet():
            from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

            predictor = nnUNetPredictor(
                tile_step_size=step, use_mirroring=mirroring, device=torch.device(device), allow_tqdm=False
            )
            try:
                with nnunets_own(Path(folder), chosen, name) as whole:
                    predictor.initialize_from_trained_model_folder(str(whole), chosen, name)
            except Exception as error:  # of torch.load, of the plans, of the trainer's class
                raise ValueError(f"nnU-Net cannot load {folder}: {type(error).__name__}: {error}") from error
        return cls(predictor)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its figures beside the weights, for the fingerprint of records."""
        from importlib.metadata import version

        settings = {name: getattr(self.predictor, name, None) for name in SETTINGS}
        return {
            "nnunetv2": version("nnunetv2"),
            "plans": self.plans.plans,
            "configuration": self.configuration.configuration,
            "dataset": self.predictor.dataset_json,
            **settings,
        }

    # ---- what it is

    @property
    def device(self) -> torch.device:
        """Where its network runs."""
        return torch.device(self.predictor.device)

    @property
    def name(self) -> str:
        """Trainer, plans and configuration, as nnU-Net names its folders."""
        found = self.configuration.configuration
        names = self.plans.available_configurations
        same = [name for name in names if self.plans.get_configuration(name).configuration == found]
        return "__".join([self.predictor.trainer_name, self.plans.plans_name, *same[:1]])

    @property
    def channel_names(self) -> list[str]:
        """Names of the input channels, in the order of the files ``_0000``, ``_0001``, ..."""
        dataset = self.predictor.dataset_json
        named = dataset["channel_names"] if "channel_names" in dataset else dataset["modality"]
        return [str(named[key]) for key in sorted(named, key=int)]

    @property
    def file_ending(self) -> str:
        """Of image and label files."""
        return str(self.predictor.dataset_json["file_ending"])

    def network(self) -> nn.Module:
        """The network with its weights, a copy of that of nnU-Net; of several folds their mean."""
        given = getattr(self.predictor.network, "_orig_mod", self.predictor.network)
        members = []
        for parameters in self.predictor.list_of_parameters:
            member = copy.deepcopy(given)
            member.load_state_dict(parameters, assign=True)  # shares the memory of the predictor's
            members.append(member.eval().requires_grad_(False).to(self.device))
        return members[0] if len(members) == 1 else MeanNetwork(members)

    @property
    def mirrorings(self) -> list[tuple[int, ...]]:
        """Axes of a tile that are flipped together, one entry a forward pass; ``()`` is the tile as it is."""
        axes = (self.predictor.allowed_mirroring_axes or ()) if self.predictor.use_mirroring else ()
        return [chosen for count in range(len(axes) + 1) for chosen in itertools.combinations(axes, count)]

    @property
    def tile(self) -> tuple[int, ...]:
        """Size of a tile, of three axes; that of a network of planes is 1 along the first."""
        size = tuple(int(n) for n in self.configuration.patch_size)
        return size if len(size) == 3 else (1, *size)

    def tiling(self, shape: Sequence[int]) -> Tiling:
        """Its tiles of a preprocessed and padded image of this shape, and its weights."""
        from nnunetv2.inference.sliding_window_prediction import compute_gaussian

        flat = len(self.configuration.patch_size) == 2
        slicers = self.predictor._internal_get_sliding_window_slicers(tuple(shape))
        places = [tuple(slice(s, s + 1) if isinstance(s, int) else s for s in place[1:]) for place in slicers]
        weight = torch.ones(tuple(self.configuration.patch_size))
        if self.predictor.use_gaussian:
            options: dict[str, Any] = {"sigma_scale": 1 / 8, "value_scaling_factor": 10, "device": torch.device("cpu")}
            weight = compute_gaussian(tuple(self.configuration.patch_size), **options)
        return Tiling(places, weight[None] if flat else weight, flat=flat)

    # ---- what it does

    def read(self, files: Sequence[str | Path]) -> tuple[np.ndarray, dict[str, Any]]:
        """An image as its own reader gives it ``(C, z, y, x)``, float32, with properties such as the spacing."""
        image, properties = self.plans.image_reader_writer_class().read_images([str(file) for file in files])
        return np.asarray(image), dict(properties)

    def read_label(self, file: str | Path) -> np.ndarray:
        """A label map as its own reader gives it ``(z, y, x)``."""
        label, _ = self.plans.image_reader_writer_class().read_seg(str(file))
        return np.asarray(label)[0]

    def segment(self, image: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """The label map ``(z, y, x)`` of an image ``(C, z, y, x)``."""
        with quiet():
            found = self.predictor.predict_single_npy_array(
                np.ascontiguousarray(image, dtype=np.float32), {"spacing": list(spacing)}, None, None, False
            )
        return np.asarray(found)

    def segment_files(self, files: Sequence[str | Path]) -> np.ndarray:
        """The label map ``(z, y, x)`` of an image's files."""
        with quiet():
            (found,) = self.predictor.predict_from_files_sequential([[str(file) for file in files]], None)
        return np.asarray(found)
