"""The application's own bundle as what is attacked: its preprocessing, inferer and postprocessing, and its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, LoadImaged

from monai_smia.adapters.monai_bundle import bundle_evaluation
from monai_smia.adapters.monai_deploy.volume import ApplicationReader
from monai_smia.evaluation import AttackEvaluation


def initialized(inference: Any) -> Any:
    """The inference operator with its bundle and model loaded, as its own `compute` loads them.

    Raises:
        ValueError: if the application has no model.
    """
    models = inference.app_context.models
    model = models.get(inference.model_name) if models else None
    if model is None or model.predictor is None:
        raise ValueError(
            "the application must have a TorchScript bundle as its model, such as model.ts with its configs: give it "
            f"with -m, got {inference.app_context.model_path!r}."
        )
    inference._model_network = model
    with inference._lock:
        if not inference._init_completed:
            inference.bundle_path = Path(model.path)
            inference._init_config(inference._bundle_config_names.config_names)
            inference._init_completed = True
    return inference


def application_evaluation(
    inference: Any, reader: ApplicationReader, files: Sequence[Path], output_dir: Path, **options: Any
) -> AttackEvaluation:
    """The evaluation under attack of an application's inference operator on one series.

    Args:
        inference: the operator, initialized.
        reader: gives it volumes.
        files: of the series.
        output_dir: where to write.
        **options: as for `bundle_evaluation`.

    Raises:
        ValueError: if the bundle cannot be attacked on the grid of the series; with the reason.
    """
    key = next(iter(inference._inputs))
    handed: Any = reader
    load = LoadImaged(key, reader=handed, image_only=True, dtype=None)
    dataset = Dataset([{key: [str(file) for file in files]}], Compose([load, *inference._preproc.transforms]))
    evaluator = SupervisedEvaluator(
        device=inference._device,
        val_data_loader=DataLoader(dataset, batch_size=1),
        network=inference._model_network.predictor,
        inferer=inference._inferer,
        postprocessing=inference._postproc,
    )
    return bundle_evaluation(
        evaluator,
        postprocessing=inference._postproc,
        output_dir=str(output_dir),
        eps_unit="image",
        space="native",
        image_key=key,
        metadata=inference.parser["_meta_"],
        unit="HU",
        write_volumes="all",
        **options,
    )
