"""Prompted networks through the real command: figures are what the bundle's own run makes of the stored images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import monai
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.apps.vista3d.transforms import Relabeld, VistaPostTransformd
from monai.inferers import Inferer, SlidingWindowInferer, SlidingWindowInfererAdapt, sliding_window_inference
from monai.transforms import Compose
from shell import shell
from torch import Tensor, nn

from bundles import vista, zoo_shapes
from monai_smia.adapters.monai_bundle import overlay_path
from monai_smia.adapters.monai_bundle.decisions import rule_of
from monai_smia.adapters.monai_bundle.prompts import Prompted, class_prompts

CLASS, CLASSES = {"label_prompt": [3]}, {"label_prompt": [3, 1]}
POINTS = {"points": [[10, 9, 5], [5, 5, 3]], "point_labels": [1, 0]}
MONAIS = sliding_window_inference
QUICK = ["--attack#figures", "False", "--attack#only", "[MIFGSM]", "--preset", "paper", "--write_volumes", "all"]


class Sliding(Inferer):
    """Calls MONAI's windows in one of the three ways that bundles do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def __call__(self, inputs: Tensor, network: Any, gain: float) -> Any:
        def predict(window: Tensor, gain: float) -> Tensor:
            answer: Tensor = network(window).tanh() * gain
            return answer

        if self.how == "function":
            return sliding_window_inference(inputs, (6, 6, 6), 2, predict, 0.25, "gaussian", gain=gain)
        kind = SlidingWindowInferer if self.how == "class" else SlidingWindowInfererAdapt
        return kind((6, 6, 6), 2, 0.25, "gaussian")(inputs, predict, gain=gain)


def attack_eval(bundle: Path, *more: str) -> tuple[dict[tuple[Any, ...], dict[str, Any]], str, str]:
    """Rows by attack and stage, what was said, and the page."""
    files = str([str(bundle / "configs" / "inference.json"), str(overlay_path())])
    meta = ["--meta_file", str(bundle / "configs" / "metadata.json")]
    words = ["attack_eval", "--config_file", files, "--bundle_root", bundle, *meta, *QUICK, *more]
    done = shell(words, bundle)
    assert done.status == 0, done.err + done.out
    folder = bundle / "eval" / "attack_eval"
    rows = json.loads((folder / "summary.json").read_text())["rows"]
    page = (folder / "report.html").read_text()
    return {(r["attack"], r["stage"]): r for r in rows if r["setting"] in ("", "equal radius")}, done.out, page


def own_run(bundle: Path, file: Path, prompt: dict[str, Any]) -> np.ndarray:
    """What the bundle, with nothing of ours beside it, makes of a file."""
    config, out = str(bundle / "configs" / "inference.json"), bundle / "own"
    items = json.dumps([{"image": str(file), **prompt}])
    done = shell(
        ["run", "--config_file", config, "--bundle_root", bundle, "--datalist", f"${items}", "--output_dir", out],
        bundle,
    )
    assert done.status == 0, done.err
    image: Any = nib.load(out / f"{file.name.removesuffix('.nii.gz')}_seg.nii.gz")
    return np.asarray(image.dataobj)


def jaccard(first: np.ndarray, second: np.ndarray, numbers: list[int]) -> float:
    both = [((first == n) & (second == n)).sum() / ((first == n) | (second == n)).sum() for n in numbers]
    return float(np.mean(both))


@pytest.mark.parametrize(
    ("prompt", "numbers", "told"),
    [
        (CLASS, [3], "class 3."),
        (CLASSES, [3, 1], "classes 3, 1."),
        (POINTS | CLASS, [3], "class 3 and 2 points (1 inside, 1 outside)."),
        (POINTS, [1], "2 points (1 inside, 1 outside)."),
    ],
    ids=["class", "classes", "points and class", "points"],
)
def test_figures_are_those_of_the_bundles_own_run(
    prompt: dict[str, Any], numbers: list[int], told: str, tmp_path: Path
) -> None:
    bundle = vista.bundle(tmp_path / "vista3d", prompt)
    rows, said, page = attack_eval(bundle, "--eps", "0.1", "--steps", "3")
    sentence = f"The prompt stays fixed under attack: {told}"
    assert sentence in said
    assert sentence in page
    clean = own_run(bundle, bundle / "data" / "ct_0.nii.gz", prompt)
    assert (255 in clean) == ("points" in prompt)
    assert ("lies outside of the windows around the points" in page) == ("points" in prompt)
    (stored,) = (bundle / "eval" / "attack_eval" / "volumes").glob("ct_0_mifgsm_equal-radius*adversarial.nii.gz")
    found = rows["MIFGSM", "stored"]["jaccard"]
    assert found == pytest.approx(jaccard(own_run(bundle, stored, prompt), clean, numbers), abs=1e-6)
    assert found < 0.8
    assert rows["Clean", "computed"]["jaccard"] == 1
    assert rows["Clean", "computed"]["agreement"] > 0.95


def test_points_of_every_case_and_classes_of_all(tmp_path: Path) -> None:
    """Points may be others, and other in number; figures of other classes would stand under one name."""
    more = {"points": [[9, 9, 5]], "point_labels": [1]}
    bundle = vista.bundle(tmp_path / "vista3d", POINTS | CLASS, more | CLASS)
    rows, said, _ = attack_eval(bundle, "--steps", "1")
    assert "Every case's prompt stays fixed; the first's is class 3 and 2 points (1 inside, 1 outside)." in said
    assert rows["Clean", "computed"]["cases"] == 2
    assert rows["Clean", "computed"]["agreement"] == 1
    assert rows["MIFGSM", "computed"]["jaccard"] < 1

    bundle = vista.bundle(tmp_path / "classes", CLASS, {"label_prompt": [5]})
    with pytest.raises(AssertionError, match="prompted with the classes of the first, \\[3\\], got \\[5\\]: evaluate"):
        attack_eval(bundle, "--steps", "1")


def test_classes_go_by_their_names(tmp_path: Path) -> None:
    rows, _, page = attack_eval(vista.bundle(tmp_path / "vista3d", CLASSES), "--steps", "1")
    assert {name for name in rows["Clean", "computed"] if name.startswith("jaccard_")} >= {
        "jaccard_spleen",
        "jaccard_liver",
    }
    assert "spleen" in page


def test_numbers_of_prompted_classes() -> None:
    """Decided as MONAI's step decides: the highest above 0, 0 for none."""
    raw = torch.tensor([[1.0, -1.0, 2.0, 0.0], [3.0, -2.0, 1.0, -1.0]])[:, :, None]
    rule = rule_of([VistaPostTransformd("pred")], raw[None], prompts=(7, 2))
    made = VistaPostTransformd("pred")({"pred": raw.clone(), "label_prompt": torch.tensor([[7], [2]])})["pred"]
    assert made.flatten().tolist() == [2, 0, 7, 0]
    assert rule.logits(raw[None]).argmax(1).flatten().tolist() == [2, 0, 1, 0]
    assert torch.equal(rule.decided(made).argmax(1), rule.logits(raw[None]).argmax(1))
    assert rule.label(torch.tensor([[2.0, 7.0, 5.0, 0.0]])).tolist() == [[2, 1, 0, 0]]
    beside = torch.tensor([[[7.0], [255.0], [torch.nan]]])
    assert rule.decided(beside, partly=True).argmax(1).flatten().tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match=r"the prompted classes, \[7, 2\], got \[255.0\], too"):
        rule.decided(beside[:, :2])


def test_classes_that_postprocessing_numbers_anew() -> None:
    """As the zoo's evaluate.json does; without classes objects are numbered."""
    steps = [Compose([Relabeld("pred", {"default": [(7, 1), (2, 2)]}, dtype=np.uint8)])]
    given = {"label_prompt": torch.tensor([[7], [2], [9]])}
    assert class_prompts(given, 3, steps) == (1, 2, 9)
    assert class_prompts(given, 3, []) == (7, 2, 9)
    assert class_prompts({"label_prompt": None}, 2, steps) == (1, 2)


@pytest.mark.parametrize("how", ["function", "class", "adapting class", "MONAI's own"])
def test_sliding_windows_of_a_bundles_inferer(how: str) -> None:
    """The same values and the gradient of plain autograd, whichever of MONAI's windows its code calls."""
    network = nn.Conv3d(1, 2, 3, padding=1).double().requires_grad_(False)
    inferer: Any = Sliding(how)
    if how == "MONAI's own":
        inferer = SlidingWindowInferer((6, 6, 6), 2, 0.25, "gaussian")
        forward = network.forward
        network.forward = lambda window, gain: forward(window).tanh() * gain
    image = torch.rand(1, 1, 12, 11, 10, dtype=torch.float64)
    first, second = image.clone().requires_grad_(True), image.clone().requires_grad_(True)
    ours, theirs = Prompted(inferer, ((2.0,), {}))(first, network), inferer(second, network, 2.0)
    assert torch.allclose(ours, theirs, atol=1e-12)
    weights = torch.rand_like(ours)
    (found,) = torch.autograd.grad((ours.square() * weights).sum(), first)
    (wanted,) = torch.autograd.grad((theirs.square() * weights).sum(), second)
    assert torch.allclose(found, wanted, atol=1e-10)
    assert type(ours.grad_fn).__name__ != type(theirs.grad_fn).__name__  # ours went window by window
    two = Prompted(inferer, ((2.0,), {}))(torch.cat([image, image]), network)
    assert torch.equal(two, torch.cat([ours, ours]))
    assert (SlidingWindowInferer, sliding_window_inference) == (monai.inferers.SlidingWindowInferer, MONAIS)


def test_points_of_a_datalist_reach_any_network(tmp_path: Path) -> None:
    """What is bright within three voxels of a point inside, and of none outside: counted by hand."""
    bundle = zoo_shapes.clicked(tmp_path / "clicked")
    rows, said, _ = attack_eval(bundle, "--attack#eps_unit", "image", "--eps", "400", "--steps", "1")
    assert "Every case's prompt stays fixed; the first's is points (1, 2, 3) and point_labels (1, 2)." in said
    expected = []
    for case, (points, labels) in enumerate(zoo_shapes.CLICKS):
        image: Any = nib.load(bundle / "data" / f"ct_{case}.nii.gz")
        near = [
            sum((axis - place) ** 2 for axis, place in zip(np.indices(image.shape), point, strict=True)) < 9
            for point in points
        ]
        inside, outside = (np.any([n for n, x in zip(near, labels, strict=True) if x == k], axis=0) for k in (1, 0))
        expected.append(int(((np.asarray(image.dataobj) > -580) & inside & ~outside).sum()))
    assert min(expected) > 10
    assert rows["Clean", "computed"]["volume_voxels_0"] == np.mean(expected)
    assert rows["Clean", "computed"]["agreement"] == 1
    assert rows["MIFGSM", "computed"]["jaccard"] < 0.5


def test_prompts_that_no_attack_has_seen(tmp_path: Path) -> None:
    """The attack on the encoder, and on a class, under other prompts: each as the bundle's own run decides."""
    bundle = vista.bundle(tmp_path / "vista3d", CLASS)
    unseen = [{"label_prompt": [1]}, POINTS | {"label_prompt": [5]}]
    more = ["--attack#embedding_of", "image_encoder", "--attack#unseen_prompts", f"${unseen}"]
    rows, said, page = attack_eval(bundle, *more, "--attack#only", "['MIFGSM', 'Embedding(PGD)']", "--steps", "3")
    sentence = (
        "Damage under prompts that no attack has seen, to the clean decision under the same prompt: unseen_prompt1"
    )
    assert sentence in said
    assert sentence in page
    assert "damage under other prompts than the case" in page
    row = rows["Embedding(PGD)", "stored"]
    (stored,) = (bundle / "eval" / "attack_eval" / "volumes").glob("ct_0_embedding*adversarial.nii.gz")
    for number, prompt in enumerate(unseen):
        clean, found = (own_run(bundle, file, prompt) for file in (bundle / "data" / "ct_0.nii.gz", stored))
        expected = 1 - jaccard(found, clean, prompt["label_prompt"])
        assert row[f"unseen_prompt{number + 1}"] == pytest.approx(expected, abs=1e-6)
    assert row["unseen"] == pytest.approx((row["unseen_prompt1"] + row["unseen_prompt2"]) / 2)
    assert row["unseen"] > 0.05
    assert rows["Clean", "computed"]["unseen"] == 0
    assert rows["MIFGSM", "computed"]["unseen"] > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--attack#embedding_of", "encoder"],
            "of the network, one of .*'image_encoder'.* or within it, got 'encoder'",
        ),
        (["--attack#unseen_prompts", "[]"], "unseen_prompts must be a list of entries of an item"),
        (["--attack#unseen_prompts", "[{label_prompt: [3]}]"], "ct_0 is prompted with {'label_prompt': \\[3\\]}"),
    ],
)
def test_what_is_no_prompt_and_no_part(given: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=said):
        attack_eval(vista.bundle(tmp_path / "vista3d", CLASS), *given)
