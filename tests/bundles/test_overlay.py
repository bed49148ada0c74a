"""The overlay on bundles that are built in different ways; their own configs are not touched."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles import zoo
from monai.bundle import run
from monai.transforms import Activationsd, AsDiscreted, Compose, EnsureTyped

from monai_smia.__main__ import main
from monai_smia.bundle import check_configs, overlay_path
from monai_smia.bundle.parts import activation_of, case_names, split_chain

QUICK = {"attack#progress": False, "attack#figures": False, "attack#only": ["Noise", "PGD"]}


def attack_eval(bundle: Path, *configs: str, **overrides: Any) -> dict[tuple[str, str, str | None], dict[str, Any]]:
    """Run the overlay behind a bundle's configs; the rows by attack, stage and loss, equal radius only."""
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in bundle.rglob("*") if p.is_file()}
    files = [str(bundle / "configs" / name) for name in configs] + [str(overlay_path())]
    run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **{**QUICK, **overrides})
    for path, digest in before.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    summary = json.loads((bundle / "eval" / "attack_eval" / "summary.json").read_text())
    assert not summary["failures"]
    return {
        (r["attack"], r["stage"], r["loss"]): r
        for r in summary["rows"]
        if r["setting"] in ("", "equal radius")
    }


def test_supervised_segmentation_in_the_scanner_space(tmp_path: Path) -> None:
    """JSON; ids inside `validate`; resampled and cropped; int16 NIfTI attacked on its own grid."""
    bundle = zoo.supervised_segmentation(tmp_path / "spleen")
    overrides = {"attack#evaluator": "@validate#evaluator", "attack#postprocessing": "@validate#postprocessing"}
    rows = attack_eval(bundle, "train.json", "evaluate.json", eps=0.1, steps=3, **overrides)
    clean = rows["Clean", "computed", None]
    assert clean["cases"] == 2
    assert clean["jaccard"] > 0.6
    for stage in ("computed", "stored"):
        row = rows["PGD", stage, None]
        assert (row["eps"], row["eps_input"]) == (0.1, pytest.approx(140.0))
        assert row["jaccard"] < 0.5 * clean["jaccard"]
    assert rows["Noise", "computed", None]["jaccard"] > rows["PGD", "computed", None]["jaccard"] + 0.2
    written = sorted((bundle / "eval" / "attack_eval" / "volumes").glob("ct_1_pgd_equal*_adversarial.nii.gz"))
    source = nib.load(bundle / "data" / "images" / "ct_1.nii.gz")
    assert nib.load(written[0]).get_data_dtype() == np.int16
    change = np.abs(np.asarray(nib.load(written[0]).dataobj, int) - np.asarray(source.dataobj, int))
    assert 0 < change.max() <= 140


@pytest.mark.parametrize("several_files", [False, True])
def test_multi_label_without_labels(tmp_path: Path, several_files: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """YAML; z-scores of the case, hence attacked in network units; the clean prediction is the reference."""
    bundle = zoo.brain_tumour(tmp_path / "brats", several_files=several_files)
    rows = attack_eval(bundle, "inference.yaml", eps=0.3, steps=3, **{"attack#progress": True})
    said = capsys.readouterr().out
    assert "the clean prediction is the reference" in said
    assert ("made of 4 files" if several_files else "NormalizeIntensity") in said
    assert rows["Clean", "computed", None]["jaccard"] == pytest.approx(1.0)
    computed, stored = (rows["PGD", stage, None] for stage in ("computed", "stored"))
    assert computed["jaccard"] < rows["Noise", "computed", None]["jaccard"] - 0.05
    assert stored["jaccard"] == pytest.approx(computed["jaccard"], abs=1e-6)
    assert computed["linf"] == pytest.approx(0.3, rel=1e-4)


def test_the_weights_of_a_handler_are_loaded(tmp_path: Path) -> None:
    bundle = zoo.brain_tumour(tmp_path / "brats")
    torch.save({k: torch.zeros_like(v) for k, v in torch.load(bundle / "models" / "model.pt").items()}, bundle / "models" / "model.pt")
    with pytest.raises(RuntimeError, match="cases failed"):  # a network of zeros has no gradient, or nothing to find
        attack_eval(bundle, "inference.yaml", steps=1)
