"""Auto3DSeg's own templates: do twin and `infer` decide alike, in every mode, and does a gradient come back?

    MONAI_SMIA_AUTO3DSEG=CHECKOUT/auto3dseg/algorithm_templates python benchmarks/auto3dseg.py --save auto3dseg

The checkout of Project-MONAI/research-contributions is yours: nothing is fetched, and nothing of it is kept. Every
template makes a folder of its own, by its own `fill_template_config` from the statistics of two synthetic cases; its
network is made small, and its weights are drawn, the biases of its last layer so that every class is decided
somewhere. So figures say that the twin is the algorithm, and nothing of how robust one is. Needs the extra
``auto3dseg``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from measured import Claims, Row, Table, add_save, save
from monai.apps.auto3dseg import DataAnalyzer
from monai.bundle import ConfigParser
from torch import nn

from monai_smia.adapters.auto3dseg import Auto3DSegVictim
from monai_smia.adapters.auto3dseg.scripts import Scripts

TEMPLATES = "MONAI_SMIA_AUTO3DSEG"  # environment variable: where the templates lie
ALGORITHMS = {
    "segresnet": "SegresnetAlgo",
    "segresnet2d": "Segresnet2dAlgo",
    "swinunetr": "SwinunetrAlgo",
    "dints": "DintsAlgo",
}
SHAPE = (44, 40, 30)
AFFINE = np.array([[-1.4, 0, 0, 30], [0, 1.3, 0, -20], [0, 0, 2.1, 5], [0, 0, 0, 1.0]])
RESAMPLED = {"resample": True, "resample_resolution": [1.8, 1.1, 2.6]}
REGIONS = {"sigmoid": True, "class_names": [{"name": "whole", "index": [1, 2]}, {"name": "core", "index": [2]}]}
CT, MRI = "ct", "mri"
MODES: dict[str, tuple[str, dict[str, Any]]] = {  # modality of the image, what the owner's input says beside it
    "CT": (CT, {}),
    "CT, resampled": (CT, RESAMPLED),
    "CT, regions": (CT, REGIONS),
    "CT and an MRI": (CT, {"extra_modalities": {"t2": "mri"}}),
    "MRI": (MRI, {}),
    "MRI, resampled": (MRI, RESAMPLED),
    "MRI, tanh": (MRI, {"normalize_mode": "meanstdtanh"}),
    "PET": (MRI, {"normalize_mode": "pet"}),
}
SMALL = {"CT", "MRI"}  # of the others, whose transforms are two; segresnet2d has those of segresnet but tanh
WITHOUT = {"segresnet2d": set(MODES) - SMALL, "swinunetr": set(MODES) - SMALL, "dints": set(MODES) - SMALL}


def write_data(folder: Path, modality: str, extra: Sequence[str]) -> Path:
    """Two synthetic cases and their list."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij"))
    label = ((grid**2).sum(0) < 0.7).astype(np.uint8)
    label += (((grid - 0.15) ** 2).sum(0) < 0.12).astype(np.uint8)
    items = []
    for case in range(2):
        item = {"label": f"label{case}.nii.gz", "fold": 0}
        nib.save(nib.Nifti1Image(label, AFFINE), folder / item["label"])
        for number, key in enumerate(["image", *extra]):
            generator = np.random.default_rng([case, number])
            of_ct = modality == CT and key == "image"
            values = np.array([-1000, 40, 160] if of_ct else [0, 300, 600])[label]
            values = values + generator.normal(0, 20, SHAPE) * ((label > 0) | of_ct)
            item[key] = f"{key}{case}.nii.gz"
            nib.save(nib.Nifti1Image(values.round().astype(np.int16), AFFINE), folder / item[key])
        items.append(item)
    path = folder / "list.json"
    path.write_text(json.dumps({"training": items}))
    return path


def exported(templates: Path, name: str, modality: str, options: dict[str, Any], folder: Path) -> Path:
    """The folder that a template makes of the data, its network made small."""
    data = write_data(folder, modality, tuple(options.get("extra_modalities", ())))
    given = {"modality": modality, "datalist": str(data), "dataroot": str(folder), **options}
    (folder / "input.yaml").write_text(yaml.safe_dump(given))
    stats = str(folder / "stats.yaml")
    DataAnalyzer(str(data), str(folder), output_path=stats, worker=0, device="cpu").get_all_case_stats()
    with Scripts(templates / name, torch.device("cpu")).running():
        module = importlib.import_module("algo")
        if hasattr(module, "get_mem_from_visible_gpus"):
            module.get_mem_from_visible_gpus = lambda: [16 * 2**30]  # of training, which wants a GPU
        algorithm = getattr(module, ALGORITHMS[name])(template_path=str(templates))
        algorithm.name = name
        algorithm.set_data_stats(stats)
        algorithm.set_data_source(str(folder / "input.yaml"))
        algorithm.export_to_disk(str(folder), f"{name}_0")
    made = folder / f"{name}_0"
    shrink(made, name)
    return made


def shrink(folder: Path, name: str) -> None:
    """A small network and window in the configs."""
    path = folder / "configs" / "hyper_parameters.yaml"
    found = yaml.safe_load(path.read_text())
    if name.startswith("segresnet"):
        found["network"] |= {"init_filters": 8, "blocks_down": [1, 1, 1], "dsdepth": 1}
        found |= {"roi_size": [40, 40, 16], "auto_scale_allowed": False}
    else:
        where = found["training"] if name == "dints" else found
        where |= {"roi_size": [64, 64, 64], "roi_size_valid": [64, 64, 64]}
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    if name == "swinunetr":
        network = folder / "configs" / "network.yaml"
        small = yaml.safe_load(network.read_text())
        small["network"]["feature_size"] = 12
        network.write_text(yaml.safe_dump(small))


def draw_weights(folder: Path, name: str, item: dict[str, Any], seed: int) -> None:
    """Weights at random, with which every class is decided somewhere in the case."""
    torch.manual_seed(seed)
    scripts = Scripts(folder, torch.device("cpu"))
    with scripts.running(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        configs = sorted(str(path) for path in (folder / "configs").glob("*.yaml"))
        if name.startswith("segresnet"):
            module = importlib.import_module("infer")
            segmenter = module.InferClass(configs, log_output_file=str(folder.parent / "log")).segmenter
            network, transforms = segmenter.model, segmenter.get_data_transform_builder()(resample_label=False)
            checkpoint = folder / "model" / "model.pt"
        else:
            parser = ConfigParser()
            parser.read_config([path for path in configs if "train" not in path and "search" not in path])
            parser["bundle_root"] = str(folder)
            network = parser.get_parsed_content("network" if name == "swinunetr" else "training_network#network")
            transforms = parser.get_parsed_content("transforms_infer")
            checkpoint = folder / "model_fold0" / "best_metric_model.pt"
        seen = torch.as_tensor(transforms(item)["image"])[None].float()
        size = [64, 64, 64] if checkpoint.parent.name == "model_fold0" else [40, 40, 16]
        missing = [max(0, most - least) for most, least in zip(size, seen.shape[2:], strict=True)]
        seen = nn.functional.pad(seen, [n for amount in reversed(missing) for n in (0, amount)])
        network.eval()
        with torch.no_grad():
            output = network(seen[(..., *[slice(0, most) for most in size])])
            output = output[0] if isinstance(output, (list, tuple)) else output
            last = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d)) and m.bias is not None]
            last = [m for m in last if m.out_channels == output.shape[1]]
            last[-1].bias.sub_(output.flatten(2)[0].median(1).values)
    state = network.state_dict()
    checkpoint.parent.mkdir(exist_ok=True)
    torch.save({"state_dict": state} if name.startswith("segresnet") else state, checkpoint)


def measure(folder: Path, item: dict[str, Any]) -> Row:
    """Twin and `infer` of one case, side by side."""
    victim = Auto3DSegVictim.from_folder(folder, trusted=True, loss="soft_jaccard")
    algorithm, image = victim.deployed.algorithms[0], victim.read(item)[None]
    start = time.perf_counter()
    own = algorithm.probabilities(item)
    middle = time.perf_counter()
    decided = algorithm.decided(own)
    bound, label = victim.bind(image, decided[None])
    plain = image.as_tensor().clone().requires_grad_(True)
    with victim.frozen():
        found = bound._frozen.samples[0][0].probabilities(plain[0])  # type: ignore[union-attr]
        (gradient,) = torch.autograd.grad(bound.checked_loss(bound.predict(plain), label).sum(), plain)
    ours = victim.decide(victim.infer(image))[0]
    return {
        "classes": len(decided.unique()),
        "apart": float((found.detach() - own).abs().max()),
        "agreement": float((ours == decided).double().mean()),
        "voxels": decided.numel(),
        "gradient": float(gradient.abs().max()),
        "infer_s": middle - start,
    }


def row_of(templates: Path, name: str, mode: str) -> Row:
    """One template in one mode."""
    modality, options = MODES[mode]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        algorithm = exported(templates, name, modality, options, folder)
        listed = json.loads((folder / "list.json").read_text())["training"][0]
        keys = ["image", *options.get("extra_modalities", {})]
        item = {key: str(folder / listed[key]) for key in keys}
        draw_weights(algorithm, name, item, seed=0)
        return {"template": name, "mode": mode, **measure(algorithm, item)}


COLUMNS = {
    "template": "{template}",
    "mode": "{mode}",
    "voxels decided alike": "{agreement:.4%}",
    "probabilities apart": "{apart:.1e}",
    "classes decided": "{classes}",
}


def claims(rows: Sequence[Row]) -> Claims:
    """That every voxel is decided alike, and a gradient comes back."""
    alike = sum(row["agreement"] == 1 and row["classes"] > 1 for row in rows)
    yield f"In {alike} of {len(rows)} every voxel is decided as by their own `infer`.", alike == len(rows)
    yield "A gradient comes back through each, to the voxels of the files.", all(row["gradient"] > 0 for row in rows)


TABLES = {"table": Table(COLUMNS, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, help=f"the folder algorithm_templates of a checkout (${TEMPLATES})")
    parser.add_argument("--only", nargs="+", choices=ALGORITHMS, help="some templates; without it all")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="some modes; without it all that a template has")
    add_save(parser)
    args = parser.parse_args()
    templates = args.templates or Path(os.environ.get(TEMPLATES, ""))
    if not (templates / "segresnet" / "scripts").is_dir():
        parser.error(f"--templates, or ${TEMPLATES}, must be the folder algorithm_templates of a checkout.")
    torch.set_num_threads(1)
    rows = []
    for name in args.only or ALGORITHMS:
        for mode in args.modes or MODES:
            if mode not in WITHOUT.get(name, ()):
                rows.append(row_of(templates.resolve(), name, mode))
                print(json.dumps(rows[-1]), flush=True)
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    sys.exit(main())
