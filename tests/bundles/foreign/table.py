"""The table of foreign bundles: what each does differently."""

from __future__ import annotations

from typing import Any

from bundles.foreign.build import (
    ARGMAX,
    INVERT,
    KEYS,
    LOAD,
    ORIENT,
    SIGMOID,
    SOFTMAX,
    SPACING,
    WINDOW,
    Foreign,
    apply,
    threshold,
)

NO_META = {"_target_": "EnsureTyped", "keys": KEYS, "track_meta": False}
CROP = {
    "_target_": "CropForegroundd",
    "keys": KEYS,
    "source_key": "image",
    "select_fn": "$lambda x: x < -600",
    "margin": 1,
}
DISCRETE = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
ONE_HOT = {"_target_": "AsDiscreted", "keys": KEYS[1:] + ["pred"], "to_onehot": 2}
LARGEST = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}
ALONE = [ORIENT | {"keys": "image"}, SPACING | {"keys": "image", "mode": "bilinear"}, WINDOW]
Z_SCORES = {"_target_": "NormalizeIntensityd", "keys": "image"}
PERCENTILES = {"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": 1, "upper": 99, "b_min": 0} | {
    "b_max": 1,
    "channel_wise": True,
}
EXTREMA = {"_target_": "ScaleIntensityd", "keys": "image", "channel_wise": True}
ERODE = "torch.nn.functional.max_pool3d(-x.float(), 3, 1, 1).neg().round()"


def loader(**options: Any) -> list[Any]:
    """Loading with a reader of some kind."""
    return [{"_target_": "LoadImaged", "keys": KEYS, **options}, LOAD[1]]


def lambdas(function: str) -> list[Any]:
    """A step on both, before the window."""
    return [apply(KEYS, function), WINDOW]


def resized(mode: list[str], size: tuple[int, ...] = (16, 15, 20)) -> dict[str, Any]:
    return {"_target_": "Resized", "keys": KEYS, "spatial_size": list(size), "mode": mode}


FOREIGN: dict[str, Foreign] = {
    # files and readers
    "nii": Foreign(suffix=".nii"),
    "nii.gz": Foreign(),
    "npy": Foreign(suffix=".npy", steps=[WINDOW], stored=False),
    "nrrd": Foreign(suffix=".nrrd", load=loader(reader="ITKReader"), stored=False),
    "mha": Foreign(suffix=".mha", load=loader(reader="ITKReader"), stored=False),
    "reader as_closest_canonical": Foreign(load=loader(reader="NibabelReader", as_closest_canonical=True)),
    "reader as_closest_canonical, no orientation": Foreign(
        load=loader(reader="NibabelReader", as_closest_canonical=True), steps=[WINDOW]
    ),
    "reader ITK": Foreign(load=loader(reader="ITKReader")),
    "reader ITK reverse_indexing": Foreign(load=loader(reader="ITKReader", reverse_indexing=True), steps=[WINDOW]),
    "reader ITK in LPS": Foreign(load=loader(reader="ITKReader", affine_lps_to_ras=False), steps=[WINDOW]),
    "loader ensure_channel_first": Foreign(load=[LOAD[0] | {"ensure_channel_first": True}]),
    "loader with meta dict": Foreign(load=loader(image_only=False)),
    # steps that move voxels
    "Transposed": Foreign(
        steps=[{"_target_": "Transposed", "keys": KEYS, "indices": [0, 2, 1, 3]}, WINDOW], space="network"
    ),
    "Lambdad flip": Foreign(steps=lambdas("x.flip(1)"), space="network"),
    "Lambdad movedim": Foreign(steps=lambdas("x.movedim(1, 3)"), space="network"),
    "Flipd": Foreign(steps=[{"_target_": "Flipd", "keys": KEYS, "spatial_axis": 0}, WINDOW]),
    "Rotate90d": Foreign(steps=[{"_target_": "Rotate90d", "keys": KEYS}, WINDOW]),
    "Resized": Foreign(steps=[resized(["trilinear", "nearest"]), WINDOW]),
    "Resized area and back": Foreign(
        steps=[resized(["area"]) | {"keys": "image"}, WINDOW], post=[SOFTMAX, INVERT, ARGMAX]
    ),
    "Zoomd": Foreign(
        steps=[
            {"_target_": "Zoomd", "keys": KEYS, "zoom": 0.8, "mode": ["trilinear", "nearest"], "keep_size": False},
            WINDOW,
        ]
    ),
    "lazy": Foreign(steps=[SPACING, resized(["bilinear", "nearest"]), WINDOW], lazy=True),
    # steps that drop the metadata
    "no metadata, last": Foreign(steps=[ORIENT, SPACING, WINDOW, NO_META]),
    "no metadata, in the middle": Foreign(steps=[ORIENT, WINDOW, NO_META, apply("image", "x * 1.0")], space="network"),
    # steps on the label alone
    "orientation, then the label alone": Foreign(steps=[ORIENT, apply("label", "x.flip(1).flip(1)"), WINDOW]),
    "spacing, then erosion of the label": Foreign(steps=[SPACING, apply("label", ERODE), WINDOW]),
    "crop by the label, then one of its classes": Foreign(
        steps=[
            {"_target_": "CropForegroundd", "keys": KEYS, "source_key": "label", "margin": 2},
            apply("label", "(x == 2) * 1.0"),
            WINDOW,
        ],
        labels=3,
        space="network",
    ),
    "crop by the image": Foreign(steps=[ORIENT, CROP, WINDOW]),
    # postprocessing
    "Activations, Invert, AsDiscrete": Foreign(steps=ALONE, post=[SOFTMAX, INVERT, ARGMAX]),
    "Invert, Activations, AsDiscrete": Foreign(steps=ALONE, post=[INVERT, SOFTMAX, ARGMAX]),
    "Activations, AsDiscrete, Invert": Foreign(steps=ALONE, post=[SOFTMAX, DISCRETE, INVERT, ONE_HOT]),
    "back by the nearest": Foreign(steps=ALONE, post=[SOFTMAX, INVERT | {"nearest_interp": True}, ARGMAX]),
    "crop and back": Foreign(steps=[CROP | {"keys": "image"}, WINDOW], post=[SOFTMAX, INVERT, ARGMAX]),
    "z-scores and back, label on its file's grid": Foreign(
        steps=[*ALONE[:2], Z_SCORES, apply("image", "x / 3 + 0.6")], post=[SOFTMAX, INVERT, ARGMAX]
    ),
    "label on another grid": Foreign(post=[SOFTMAX, INVERT, ARGMAX], refused="as (.*) and the label as"),
    "argmax alone": Foreign(post=[ARGMAX]),
    "threshold .2": Foreign(network="sigmoid", post=[SIGMOID, threshold(0.2)], background=True),
    "threshold .8": Foreign(network="sigmoid", post=[SIGMOID, threshold(0.8)], background=True),
    "threshold of raw values": Foreign(network="sigmoid", post=[threshold(1.5)], background=True),
    "sigmoid in the network": Foreign(network="ends in sigmoid", post=[threshold(0.5)], background=True),
    "softmax in the network": Foreign(network="ends in softmax", post=[ARGMAX]),
    "softmax with a threshold": Foreign(
        post=[SOFTMAX, threshold(0.8), {"_target_": "AsDiscreted", "keys": "label", "to_onehot": 2}]
    ),
    "largest component": Foreign(post=[SOFTMAX, DISCRETE, LARGEST, ONE_HOT]),
    "three classes": Foreign(
        network="three",
        labels=3,
        post=[
            SOFTMAX,
            {"_target_": "AsDiscreted", "keys": KEYS[1:] + ["pred"], "argmax": [False, True], "to_onehot": 3},
        ],
    ),
    # intensities
    "z-scores": Foreign(steps=[ORIENT, Z_SCORES, apply("image", "x / 3 + 0.6")]),
    "percentiles": Foreign(steps=[ORIENT, SPACING, PERCENTILES, apply("image", "x - 0.4")]),
    "extrema of each channel": Foreign(steps=[ORIENT, EXTREMA, apply("image", "x - 0.3")]),
    "z-scores, what the network sees": Foreign(
        steps=[ORIENT, Z_SCORES, apply("image", "x / 3 + 0.6")],
        space="network",
        options={"attack#space": "network"},
    ),
    "Auto3DSeg CT: window and a sigmoid": Foreign(
        steps=[ORIENT, WINDOW, apply("image", "torch.sigmoid(x)"), apply("image", "x * 2 - 0.9")], space="network"
    ),
    "numpy": Foreign(
        steps=[ORIENT, apply("image", "monai.data.MetaTensor(x.numpy() * 1.0, affine=x.affine)"), WINDOW],
        space="network",
    ),
    "numpy, the affine lost": Foreign(steps=[ORIENT, apply("image", "x.numpy() * 1.0"), WINDOW], space="network"),
    "numpy at the end": Foreign(steps=[ORIENT, WINDOW, apply("image", "x.numpy().copy()")], space="network"),
    "random": Foreign(
        steps=[{"_target_": "RandFlipd", "keys": KEYS, "prob": 0.5}, WINDOW], refused="draws at random.*RandFlipd"
    ),
    "random, seeded": Foreign(
        steps=[{"_target_": "RandFlipd", "keys": KEYS, "prob": 0.5}, WINDOW],
        space="network",
        options={"attack#seeded": True},
    ),
}
