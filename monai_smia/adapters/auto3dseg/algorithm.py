"""An algorithm of Auto3DSeg as it is deployed: its own `InferClass`, and the parts that it is made of."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Hashable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from monai.transforms import Activationsd, AsDiscrete, AsDiscreted, Compose, Invertd
from torch import Tensor, nn

from monai_smia.adapters.auto3dseg.folder import INFER, configs_of, empty_datalist, settings_of
from monai_smia.adapters.auto3dseg.scripts import Scripts, WeightsError
from monai_smia.adapters.monai_bundle.chain import Chain, chain_of
from monai_smia.inferers import CheckpointedSlidingWindowInferer
from monai_smia.victims.preprocessing import as_plain

IMAGE = "image"
EXTRA = "pip install 'monai_smia[auto3dseg]'"


class Algorithm:
    """An algorithm folder, run by its own scripts; nothing is written into it.

    Args:
        folder: checked, see `check_folder`.
        device: where it runs.

    Attributes:
        own: the folder's own `InferClass`.
        settings: its hyperparameters, as they are written.

    Raises:
        ValueError: if it cannot be set up, or is none of the four templates; with the reason.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        self.folder, self.device = folder.resolve(), torch.device(device)
        self.name = self.folder.name
        self.settings = settings_of(folder)
        self.scripts = Scripts(self.folder, self.device)
        self._aside = tempfile.TemporaryDirectory()  # configs that may be written into, and what it logs
        self.own = self._set_up()
        if not (hasattr(self.own, "segmenter") or hasattr(self.own, "post_transforms_prob")):
            raise ValueError(
                f"{self.folder / INFER} is of none of the templates that are known here (segresnet, segresnet2d, "
                "swinunetr, dints), whose parts the gradient goes through."
            )
        if not self.scripts.weights:
            raise ValueError(f"{self.folder} has no weights: its scripts loaded none (is its checkpoint there?).")

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        files = [*configs_of(self.folder), *sorted(self.folder.glob("**/*.py"))]
        hashes = {str(f.relative_to(self.folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
        return {"files": hashes, "network": self.network}

    def probabilities(self, item: Mapping[Hashable, Any]) -> Tensor:
        """What its own `infer` gives of an item ``{"image": file, ...}``: ``(K, *spatial)`` on the image's own grid."""
        with self.scripts.running(), _quiet():
            found: Tensor = as_plain(self.own.infer(dict(item))).detach().cpu()
        return found

    def decided(self, probabilities: Tensor) -> Tensor:
        """The map ``(1 or K, *spatial)`` that it writes of probabilities."""
        found: Tensor = as_plain(self.decision(probabilities)).long()
        return found

    # ---- its parts, which the twin is made of

    @cached_property
    def transforms(self) -> Compose:
        """From a file to what the network is given."""
        with self.scripts.running(), _quiet():
            if self._segmenter is not None:
                found = self._segmenter.get_data_transform_builder()(augment=False, resample_label=False)
            else:
                found = self.own.infer_transforms
        return found if isinstance(found, Compose) else Compose(found)

    def chain(self, item: Mapping[Any, Any]) -> Chain:
        """These with the image's loader told apart."""
        return chain_of(self.transforms, IMAGE, item)

    @property
    def network(self) -> nn.Module:
        """Its network."""
        found: nn.Module = self.own.model if self._segmenter is None else self._segmenter.model
        return found

    def inferer(self) -> Any:
        """Its sliding window, with a gradient of flat memory where it is one of MONAI's."""
        if self._segmenter is not None:
            own = self._segmenter.sliding_inferrer
            return CheckpointedSlidingWindowInferer.of(own) if isinstance(own, SlidingWindowInferer) else own
        roi, overlap = (
            self._first("roi_size_valid", "patch_size_valid"),
            self._first("overlap_ratio_final", "overlap_ratio"),
        )
        return CheckpointedSlidingWindowInferer(roi, sw_batch_size=1, overlap=overlap, mode="gaussian")

    @property
    def activates_first(self) -> bool:
        """Whether probabilities are taken back to the image's grid, and not the network's own values."""
        if self._segmenter is not None:
            return True
        kinds = [type(step) for step in self.own.post_transforms_prob.transforms]
        return kinds.index(Activationsd) < kinds.index(Invertd)

    @property
    def sigmoid(self) -> bool:
        """Whether every channel is decided by itself."""
        if self._segmenter is not None:
            return bool(self._segmenter.config["sigmoid"])
        step = next(s for s in self.own.post_transforms_prob.transforms if isinstance(s, Activationsd))
        return bool(step.sigmoid[0])

    def activated(self, logits: Tensor) -> Tensor:
        """Probabilities of its own values ``(K, *spatial)``, in the precision that it has, on which ties depend."""
        if self._segmenter is not None:
            found: Tensor = self._segmenter.logits2pred(logits[None], sigmoid=self.sigmoid)[0]
            return found
        return logits.sigmoid() if self.sigmoid else logits.softmax(0)

    @property
    def decision(self) -> Any:
        """What makes a map of probabilities, as it writes files."""
        if self._segmenter is None:
            step = next(s for s in self.own.post_transforms.transforms if isinstance(s, AsDiscreted))
            return AsDiscrete(argmax=step.argmax[0], threshold=step.threshold[0])
        return AsDiscrete(threshold=0.5) if self.sigmoid else AsDiscrete(argmax=True)

    @property
    def _segmenter(self) -> Any:
        return getattr(self.own, "segmenter", None)

    def _first(self, *names: str) -> Any:
        return next(copy.copy(getattr(self.own, name)) for name in names if hasattr(self.own, name))

    # ---- setting it up

    def _set_up(self) -> Any:
        aside = Path(self._aside.name)
        configs = [shutil.copy(path, aside / path.name) for path in configs_of(self.folder)]
        with self.scripts.running(), _quiet():
            try:
                module = self._infer_module()
                return module.InferClass([str(path) for path in configs], **self._overrides(aside))
            except WeightsError:
                raise
            except ImportError as error:
                raise ValueError(f"{self.folder / INFER} cannot be imported: {error}; {EXTRA}.") from error
            except Exception as error:  # whatever its scripts raise
                text = " ".join(str(error).split()) or type(error).__name__
                raise ValueError(f"{self.folder / INFER} cannot be set up: {type(error).__name__}: {text}.") from error

    def _infer_module(self) -> Any:
        spec = importlib.util.spec_from_file_location("InferClass", self.folder / INFER)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["InferClass"] = module
        spec.loader.exec_module(module)
        return module

    def _overrides(self, aside: Path) -> dict[str, Any]:
        """What the folder needs where it lies now, with nothing written into it."""
        log = str(aside / "log.txt")
        found = {
            "bundle_root": str(self.folder),
            "data_file_base_dir": str(aside),
            "data_list_file_path": str(empty_datalist(aside / "datalist.json")),
            "log_output_file": log,
            "infer#data_list_key": "testing",
            "infer#log_output_file": log,
            "infer#output_path": str(aside),
            "infer#save_mask": False,
            "infer#fast": False,
            "cuda": self.device.type == "cuda",
        }
        if not (self.folder / "scripts" / "segmenter.py").is_file():  # whose window this decides
            scaled = "training#auto_scale_allowed" if "training" in self.settings else "auto_scale_allowed"
            found[scaled] = False  # of training, which asks for a GPU
        return found


class _quiet:
    """Inside, warnings and the log of Auto3DSeg say nothing: what goes wrong is raised."""

    def __enter__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")
        self._logger = logging.getLogger("monai.apps.auto3dseg.auto_runner")
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL)

    def __exit__(self, *error: Any) -> None:
        self._logger.setLevel(self._level)
        self._warnings.__exit__(*error)
