"""Applications of the MONAI Deploy App SDK's own examples take the attack step in: an import and two lines of add_flow.

Of a checkout of the SDK's repository the applications are copied and run: as they are, with an attack of radius 0, and
with one of 70 HU. Their flow from volume to inference becomes two, to the attack step and from it; other lines stay.
The model is a small random TorchScript bundle, the series a synthetic thorax.

    MONAI_SMIA_DEPLOY_SDK=CHECKOUT .venv-deploy/bin/python benchmarks/deploy_examples.py

CHECKOUT is a clone of https://github.com/Project-MONAI/monai-deploy-app-sdk, at any version. Needs the environment of
``make test_deploy``, and numpy-stl and trimesh, which the spleen example draws its mesh with.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import Claims, Row, Table, add_save, save
from pydicom import dcmread

from monai_smia.dicom import read_dicom_series

HERE = Path(__file__).resolve().parent
CHECKOUT = "MONAI_SMIA_DEPLOY_SDK"  # environment variable
CLASSES = {"ai_spleen_seg_app": 2, "ai_pancreas_seg_app": 3}
EPS = 70.0
STACK = 32 << 20  # bytes, that the SDK wants
FLOW = re.compile(r"( +)self\.add_flow\((\w+), (\w+), \{\(\"image\", \"image\"\)\}\)\n")
IMPORT = "from monai_smia.adapters.monai_deploy import AttackOperator\n"
IMAGE = {"type": "image", "format": "hounsfield", "num_channels": 1, "spatial_shape": [32, 32, 32]}


def taken_in(text: str, eps: float) -> str:
    """The text of an application, with the attack step between volume and inference.

    Raises:
        ValueError: if there is not one flow of an image from one operator to another.
    """
    flows = FLOW.findall(text)
    if len(flows) != 1:
        raise ValueError(f"the application must have one flow of an image to an operator, got {len(flows)}.")
    ((space, volume, inference),) = flows
    given = f'inference={inference}, input_folder=app_input_path, output_folder=app_output_path / "attack", eps={eps}'
    attack = f'attack := AttackOperator(self, {given}, name="attack")'
    image = '{("image", "image")}'
    lines = [f"self.add_flow({volume}, {attack}, {image})\n", f"self.add_flow(attack, {inference}, {image})\n"]
    changed = FLOW.sub(lambda found: "".join(space + line for line in lines), text)
    first = re.search(r"^from monai\.deploy", changed, re.MULTILINE)
    if first is None:
        raise ValueError("the application must import from monai.deploy.")
    return changed[: first.start()] + IMPORT + changed[first.start() :]


def changed_lines(before: str, after: str) -> tuple[int, int]:
    """Lines that are gone, and lines that are new."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
    return sum(line[0] == "-" for line in lines), sum(line[0] == "+" for line in lines)


def write_model(path: Path, classes: int) -> Path:
    """A random network as TorchScript, with the configs of a bundle inside."""
    torch.manual_seed(0)
    network: Any = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(8, classes, 1)
    )
    with torch.no_grad():  # each class is decided somewhere
        network[2].bias -= network(torch.rand(1, 1, 16, 16, 16)).mean((0, 2, 3, 4))
    before: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [5.0, 5.0, 6.0], "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1}
        | {"clip": True},
    ]
    after: list[dict[str, Any]] = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
        | {"nearest_interp": False},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "eval"},
    ]
    inference = {
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "overlap": 0.25},
        "postprocessing": {"_target_": "Compose", "transforms": after},
    }
    channels = {"channel_def": {str(number): f"class {number}" for number in range(classes)}}
    formats = {"inputs": {"image": IMAGE}, "outputs": {"pred": {**IMAGE, **channels}}}
    texts = {"inference": inference, "metadata": {"version": "0.1.0", "network_data_format": formats}}
    files = {f"{name}.json": json.dumps(text) for name, text in texts.items()}
    torch.jit.save(torch.jit.script(network.eval()), path, _extra_files=files)
    return path


def run(app: Path, text: str, series: Path, model: Path, folder: Path) -> Path:
    """A copy of an application, run with another text; where it has written."""
    shutil.copytree(app, folder / "app")
    (folder / "app" / "app.py").write_text(text)
    (folder / "out").mkdir()
    line = [sys.executable, "app.py", "-i", str(series), "-o", str(folder / "out"), "-m", str(model), "-l", "WARN"]
    roots = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        ["bash", "-c", f'ulimit -s {STACK >> 10} && exec "$@"', "bash", *line],
        cwd=folder / "app",
        env={**os.environ, "PYTHONPATH": roots},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{app.name} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return folder / "out"


def labels_of(out: Path, series: Path) -> np.ndarray:
    """The one DICOM SEG of an application, as classes on the planes of its series."""
    import highdicom

    (path,) = out.glob("*.dcm")
    uids = [str(plane.header.SOPInstanceUID) for plane in read_dicom_series(series).slices]
    seg = highdicom.seg.segread(path)
    return np.asarray(
        seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    )


def measure(checkout: Path, name: str, folder: Path) -> Row:
    """One application."""
    sys.path.insert(0, str(HERE.parent / "examples" / "monai_deploy_app"))
    from prepare import series as write_series

    write_series(folder / "series")
    for path in (folder / "series").iterdir():  # the examples select no series without these
        dataset = dcmread(path)
        dataset.StudyDescription = dataset.SeriesDescription = "synthetic thorax"
        dataset.save_as(path)
    app, series = checkout / "examples" / "apps" / name, folder / "series"
    model, own = write_model(folder / "model.ts", CLASSES[name]), (app / "app.py").read_text()
    texts = {"own": own, "zero": taken_in(own, 0.0), "attacked": taken_in(own, EPS)}
    outs = {}
    for way, text in texts.items():
        (folder / way).mkdir()
        outs[way] = run(app, text, series, model, folder / way)
    labels = {way: labels_of(out, series) for way, out in outs.items()}
    records = [json.loads(line) for line in (outs["attacked"] / "attack" / "records.jsonl").read_text().splitlines()]
    (stored,) = [r for r in records if (r["attack"], r["stage"]) == ("APGD", "stored")]
    clean, attacked = labels["own"], labels["attacked"]
    overlaps = [
        ((clean == n) & (attacked == n)).sum() / ((clean == n) | (attacked == n)).sum() for n in range(1, CLASSES[name])
    ]
    gone, new = changed_lines(own, texts["attacked"])
    return {
        "app": name,
        "gone": gone,
        "new": new,
        "segmented": int((clean > 0).sum()),
        "zero": int((labels["zero"] != clean).sum()),
        "changed": int((attacked != clean).sum()),
        "segs": float(np.mean(overlaps)),
        "page": float(stored["jaccard"]),
    }


def claims(rows: list[Row]) -> Claims:
    """What the step does, and does not."""
    for row in rows:
        yield (
            f"{row['app']}: one line of `add_flow` becomes two, beside an import; radius 0 changes no voxel.",
            (row["gone"], row["new"], row["zero"]) == (1, 3, 0),
        )
        yield (
            f"{row['app']}: the application's own SEG of the attacked image agrees with the page, to four decimals.",
            row["changed"] > 0 and abs(row["segs"] - row["page"]) < 5e-5,
        )


TABLES = {
    "table": Table(
        {
            "application": "{app}",
            "lines out, in": "{gone}, {new}",
            "voxels segmented": "{segmented}",
            "changed at radius 0": "{zero}",
            "changed at 70 HU": "{changed}",
            "Jaccard of the SEGs": "{segs:.4f}",
            "Jaccard on the page": "{page:.4f}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", nargs="+", choices=sorted(CLASSES), default=list(CLASSES))
    add_save(parser)
    args = parser.parse_args()
    checkout = Path(os.environ.get(CHECKOUT) or parser.error(f"{CHECKOUT} must be a checkout of the SDK's repository"))
    rows = []
    for name in args.apps:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(checkout, name, Path(folder)))
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0, 7])


if __name__ == "__main__":
    main()
