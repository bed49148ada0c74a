"""What each bundle of the MONAI Model Zoo is given by zoo.py: a small input, and overrides that say where it lies.

The layouts of files are what the bundles' own inference configs ask for. Images are synthetic; nothing is learned from
them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from torch import nn
from zoo_overrides import DINTS, LANDMARKS, MAKES_IMAGES, SMALL, SWIN

SMALLER = (20, 18, 14)
AFFINE = np.diag([-1.5, -1.5, 2.0, 1.0])


@dataclass(frozen=True)
class Recipe:
    """What a bundle is given.

    Args:
        make: writes the input into the bundle's folder, whose ``data`` is the data set.
        overrides: of ids, ``{root}`` being the bundle's folder.
        packages: that its own config asks for, beside what this package needs.
        smaller: what is smaller than published, for time's sake.
        weights: what its config loads.
        drawn: changes the network that was drawn at random.
        apart: why it is not counted: it makes images, or takes none.
    """

    make: Callable[[Path], None]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    packages: Sequence[str] = ()
    smaller: str = ""
    weights: str = "models/model.pt"
    drawn: Callable[[Any], None] = lambda network: None
    apart: str = ""


def volume(
    path: Path, shape: Sequence[int] = (40, 36, 24), *, seed: int = 0, mri: bool = False, affine: Any = AFFINE
) -> Path:
    """A bright body with a few organs, in HU or as an MRI of whole numbers whose background is 0."""
    draw = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    image = np.where(radius < 0.9, 60.0, -1000.0)
    for _ in range(4):
        center, size = draw.uniform(-0.4, 0.4, len(shape)), draw.uniform(0.15, 0.35)
        distance = np.sqrt(sum((axis - place) ** 2 for axis, place in zip(axes, center, strict=True)))
        image = np.where(distance < size, draw.uniform(-150, 250), image)
    image += draw.normal(0, 15, shape)
    if mri:
        image = np.where(radius < 0.9, np.clip(image + 600, 1, None), 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(image.round().astype(np.int16), affine), path)
    return path


def labels(path: Path, classes: int, shape: Sequence[int]) -> Path:
    """A label map: slabs of the classes."""
    values = np.broadcast_to((np.arange(shape[0]) * classes // shape[0])[:, None, None], shape)
    nib.save(nib.Nifti1Image(values.astype(np.uint8), AFFINE), path)
    return path


def picture(path: Path, size: tuple[int, int] = (96, 80), *, seed: int = 0, grey: bool = False) -> Path:
    """A smooth picture, in color or in grey."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(30, 226, (6, 6, 3)).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    (coarse.convert("L") if grey else coarse).save(path, quality=95)
    return path


def text(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def datalist(part: str, *, affine: Any = AFFINE, **more: Any) -> Callable[[Path], None]:
    """A data list as MONAI's load_decathlon_datalist reads it."""

    def make(root: Path) -> None:
        volume(root / "data" / "case.nii.gz", SMALLER, affine=affine)
        text(root / "data" / "list.json", {part: [{"image": "case.nii.gz", **more}]})

    return make


def folder(place: str, name: str = "case.nii.gz", **options: Any) -> Callable[[Path], None]:
    """One volume in a folder."""
    return lambda root: (volume(root / place / name, **options), None)[1]


def brain(root: Path) -> None:
    files = [f"brain_{number}.nii.gz" for number in range(4)]
    for number, name in enumerate(files):
        volume(root / "data" / name, (48, 40, 32), seed=number, mri=True)
    text(root / "data" / "list.json", {"testing": [{"image": files}]})


def mammogram(root: Path) -> None:
    image = picture(root / "data" / "breast.jpg", (120, 140))
    text(root / "configs" / "sample_image_data.json", {"Test": [{"image": str(image), "label": [0, 0, 1, 0]}]})


def template(root: Path) -> None:
    image = root / "data" / "test_data" / "case.nii.gz"
    volume(image, (128, 128))
    text(root / "data" / "test_samples.json", [{"image": str(image), "label": 2}])


def in_body(root: Path) -> None:
    text(root / "label" / "test_samples.json", [{"image": str(picture(root / "data" / "frame.jpg")), "label": 1}])


def tool(root: Path) -> None:
    picture(root / "data" / "test" / "clip" / "frame_1.jpg")


def hands(root: Path) -> None:
    for number in range(2):
        picture(root / "data" / f"{number:06d}.jpeg", (64, 64), seed=number, grey=True)


def architecture(part: str) -> Callable[[Path], None]:
    """A data list, and an architecture of DiNTS as its search would leave it: every way, each a convolution."""

    def make(root: Path) -> None:
        datalist(part)(root)
        ways, nodes = np.ones((12, 10)), np.ones((13, 4))
        (root / "models").mkdir(exist_ok=True)
        code = {"arch_code_a": ways, "arch_code_c": ways, "node_a": nodes}
        torch.save(code, root / "models/search_code_18590.pt")

    return make


def nuclei(root: Path) -> None:
    picture(root / "data/Test/Images/cell.png", (128, 128))
    mask = np.zeros((128, 128), np.uint8)
    mask[50:80, 50:80] = 255
    (root / "data/Test/Labels").mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(root / "data/Test/Labels/cell.png")


def clicks(root: Path) -> None:
    picture(root / "data/Test/Images/cell.png", (128, 128))
    text(root / "data/Test/Centroids/cell.txt", [[64, 60]])


def tile(size: int) -> Callable[[Path], None]:
    return lambda root: (picture(root / "data" / "tile.png", (size, size)), None)[1]


def phases(root: Path) -> None:
    for number, name in enumerate(("12.nii.gz", "22-.nii.gz", "32-.nii.gz")):
        volume(root / "data" / "case" / name, (24, 22, 18), seed=number)
    labels(root / "data" / "case" / "merged.nii.gz", 6, (24, 22, 18))


def prostate(root: Path) -> None:
    volume(root / "data" / "case" / "t2.nii.gz", (10, 10, 8), mri=True)
    (root / "data" / "test.csv").write_text("t2\ncase/t2.nii.gz\n")


def heart(root: Path) -> None:
    volume(root / "data" / "heart.nii.gz", (64, 64, 2), mri=True)


def beats(root: Path) -> None:
    image = np.random.default_rng(0).integers(0, 400, (256, 256, 1, 2)).astype(np.int16)
    (root / "data").mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(image, AFFINE), root / "data" / "beats.nii.gz")


def slide(root: Path) -> None:
    picture(root / "data/testing/images/slide.tif", (512, 512))
    (root / "testing.csv").write_text("slide,,\n")


def prompted(root: Path) -> None:
    volume(root / "data" / "case.nii.gz", SMALLER)


def finding(network: Any) -> None:
    """Scores of a detector that spread around a tenth, where the ones that it begins with find nothing."""
    nn.init.normal_(network.classification_head.cls_logits.weight, std=0.05)
    nn.init.constant_(network.classification_head.cls_logits.bias, -2.0)


def joined_nuclei(network: Any) -> None:
    """What is a nucleus hangs together: specks without a middle are no instance, and leave nothing to compare."""
    with torch.no_grad():
        network.nucleus_prediction.output_features.decoderblock4.conv.bias[1] += 300


def nothing(root: Path) -> None:
    """A generative bundle has no image."""


RECIPES: dict[str, Recipe] = {
    "brats_mri_axial_slices_generative_diffusion": Recipe(nothing, apart=MAKES_IMAGES),
    "brats_mri_generative_diffusion": Recipe(nothing, apart=MAKES_IMAGES),
    "brats_mri_segmentation": Recipe(
        brain,
        {"data_list_file_path": "{root}/data/list.json", "inferer#roi_size": [48, 40, 32]},
        smaller="window 48 x 40 x 32",
    ),
    "breast_density_classification": Recipe(mammogram, {"network_def#pretrained": False}, ("torchvision",)),
    "classification_template": Recipe(template, {"output_dir": "{root}/out"}),
    "endoscopic_inbody_classification": Recipe(in_body),
    "endoscopic_tool_segmentation": Recipe(tool),
    "lung_nodule_ct_detection": Recipe(
        datalist("validation"),
        {"data_list_file_path": "{root}/data/list.json"},
        ("torchvision",),
        drawn=finding,
    ),
    "maisi_ct_generative": Recipe(nothing, apart=MAKES_IMAGES),
    "mednist_gan": Recipe(nothing, apart=MAKES_IMAGES),
    "mednist_reg": Recipe(hands, {"datalist": "$list(sorted(glob.glob(@dataset_dir + '/*.jpeg')))"}),
    "multi_organ_segmentation": Recipe(architecture("testing"), DINTS, smaller="window 32 x 32 x 32"),
    "pancreas_ct_dints_segmentation": Recipe(architecture("testing"), DINTS, smaller="window 32 x 32 x 32"),
    "pathology_nuclei_classification": Recipe(nuclei, {"attack#unsupervised": True}, ("tensorboard", "torchvision")),
    "pathology_nuclei_segmentation_classification": Recipe(tile(128), drawn=joined_nuclei),
    "pathology_nuclick_annotation": Recipe(clicks),
    "pathology_tumor_detection": Recipe(slide, {"network_def#pretrained": False}, ("torchvision", "cucim", "pandas")),
    "pediatric_abdominal_ct_segmentation": Recipe(
        datalist("validation", affine=np.diag([1.5, 1.5, 3.0, 1.0])),  # its own grid
        {"data_list_file_path": "{root}/data/list.json", "inferer#roi_size": [32, 32, 32]},
        smaller="window 32 x 32 x 32",
        weights="models/dynunet_FT.pt",
    ),
    "prostate_mri_anatomy": Recipe(
        prostate,
        {"dataset_dir": "{root}/data/", "inferer#roi_size": [32, 32, 32]},
        ("pandas",),
        smaller="window 32 x 32 x 32",
    ),
    "renalStructures_CECT_segmentation": Recipe(
        phases, {**SMALL, "attack#unsupervised": True}, smaller="window 48 x 48 x 48"
    ),
    "renalStructures_UNEST_segmentation": Recipe(folder("data", shape=SMALLER), {}, ("einops", "timm")),
    "segmentation_template": Recipe(folder("data", shape=(32, 32, 32))),
    "spleen_ct_segmentation": Recipe(folder("data/imagesTs")),
    "spleen_deepedit_annotation": Recipe(
        folder("data/imagesTs", shape=(64, 64, 64)),
        {"spatial_size": [64, 64, 64]},
        ("einops",),
        smaller="image 64 x 64 x 64",
    ),
    "swin_unetr_btcv_segmentation": Recipe(
        folder("data/imagesTs", shape=SMALLER),
        {"inferer#roi_size": [64, 64, 64], "network_def": SWIN},
        ("einops",),
        smaller="window 64 x 64 x 64",
    ),
    "valve_landmarks": Recipe(beats, LANDMARKS, ("numpy<2",)),
    "ventricular_short_axis_3label": Recipe(heart),
    "vista2d": Recipe(tile(256), packages=("segment_anything", "cellpose", "fastremap", "opencv-python")),
    "vista3d": Recipe(
        prompted,
        {"input_dict": "${'image': '{root}/data/case.nii.gz', 'label_prompt': [3]}", "patch_size": [32, 32, 32]},
        ("einops",),
        smaller="window 32 x 32 x 32",
    ),
    "wholeBody_ct_segmentation": Recipe(folder("data/imagesTs"), SMALL, smaller="window 48 x 48 x 48"),
    "wholeBrainSeg_Large_UNEST_segmentation": Recipe(
        folder("data", shape=SMALLER, mri=True), {"dataset_dir": "{root}/data"}, ("einops", "timm")
    ),
}
