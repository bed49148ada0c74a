"""Test-time augmentation in a bundle's inferer: mirrored windows have an exact gradient; what has none is refused."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from bundles.foreign.build import Foreign, build
from bundles.foreign.test_foreign import overlay, own_dice, said_by
from monai.bundle import ConfigParser
from monai.inferers import sliding_window_inference

from monai_smia.adapters.monai_bundle import check_bundle
from monai_smia.adapters.monai_bundle.evaluation import bundle_evaluation

ROI, OVERLAP = (16, 16, 16), 0.25
AXES: list[list[int]] = [[], [2], [3], [4], [2, 3, 4]]
MIRRORING = """
import torch
from monai.inferers import SlidingWindowInferer

class Augmenting(SlidingWindowInferer):
    def __call__(self, inputs, network, *args, **kwargs):
        return torch.stack([self.mirrored(inputs, network, axes) for axes in ([], [2], [3], [4], [2, 3, 4])]).mean(0)

    def mirrored(self, inputs, network, axes):
        return super().__call__(inputs.flip(axes), network).flip(axes)
"""
MONAIS = """
from monai.data import TestTimeAugmentation
from monai.inferers import SlidingWindowInferer
from monai.transforms import RandFlipd

class Augmenting(SlidingWindowInferer):
    def __call__(self, inputs, network, *args, **kwargs):
        flip = RandFlipd(["image", "label"], prob=0.5).set_random_state(seed=0)
        infer = super().__call__
        augmented = TestTimeAugmentation(
            flip, batch_size=2, inferrer_fn=lambda x: infer(x, network), progress=False, nearest_interp=False
        )
        return augmented({"image": inputs[0], "label": inputs[0]}, num_examples=4)[1][None]
"""
DRAWS = """
import torch
from monai.inferers import SlidingWindowInferer

class Augmenting(SlidingWindowInferer):
    def __call__(self, inputs, network, *args, **kwargs):
        axes = [2 + int(torch.randint(3, ()))]
        return super().__call__(inputs.flip(axes) + torch.rand(()), network).flip(axes)
"""


@pytest.fixture
def bundle(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with such an inferer, and a network that looks to one side alone."""
    folder = build(tmp_path / "bundle", Foreign())
    path = folder / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["inferer"] = {"_target_": "augmenting.Augmenting", "roi_size": list(ROI), "overlap": OVERLAP}
    config["network_def"] = "$torch.nn.Conv3d(1, 2, 3, padding=1)"
    state = torch.load(folder / "models" / "model.pt")
    sides = torch.zeros(1, 1, 3, 3, 3)
    sides[0, 0, 1, 1, 1], sides[0, 0, 0, 1, 1] = 0.7, 0.3
    torch.save({**state, "weight": state["weight"] * sides}, folder / "models" / "model.pt")
    (folder / "augmenting.py").write_text(request.param)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "augmenting", raising=False)
    path.write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("bundle", [MIRRORING], indirect=True)
def test_mirrored_windows_decide_and_have_an_exact_gradient(bundle: Path) -> None:
    """By hand: every mirroring through MONAI's own window, their mean, and plain autograd."""
    rows, _ = overlay(bundle, {})
    assert rows["Clean", "computed"]["dice"] == pytest.approx(own_dice(bundle, False), abs=1e-6)
    assert rows["Clean", "computed"]["agreement"] == 1
    assert rows["FGSM", "computed"]["dice"] < rows["Clean", "computed"]["dice"]
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    parser.get_parsed_content("initialize")
    evaluator, post = (parser.get_parsed_content(name) for name in ("evaluator", "postprocessing"))
    victim = bundle_evaluation(
        evaluator, postprocessing=post, output_dir=str(bundle / "out"), space="network", progress=False
    ).victim
    network = evaluator.network.double()
    image = torch.rand(1, 1, 19, 17, 15, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    weights = torch.randn(1, 2, 19, 17, 15, generator=torch.Generator().manual_seed(1), dtype=torch.double)

    def by_hand(x: torch.Tensor) -> torch.Tensor:
        found = [sliding_window_inference(x.flip(a), ROI, 4, network, OVERLAP).flip(a) for a in AXES]
        return torch.as_tensor(sum(found)) / len(found)

    gradients = []
    for predict in (victim.predict, by_hand):
        x = image.clone().requires_grad_(True)
        gradients.append(torch.autograd.grad((predict(x) * weights).sum(), x)[0])
    assert float((gradients[0] - gradients[1]).abs().max()) < 1e-10 * float(gradients[1].abs().max())
    plain = sliding_window_inference(image, ROI, 4, network, OVERLAP)
    assert float((victim.predict(image) - plain).abs().max()) > 0.1  # mirroring matters


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (MONAIS, r"no gradient comes back through the bundle's inferer Augmenting \(.*mirrored predictions in torch"),
        (DRAWS, r"the bundle's inferer Augmenting answers otherwise when it is asked again.*one draw"),
    ],
    indirect=["bundle"],
)
def test_augmentation_without_a_gradient_or_drawn_is_refused_beforehand(bundle: Path, message: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        overlay(bundle, {})
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")])
    assert re.search(message, stops)
    assert stops in said_by(caught.value)
    assert not (bundle / "eval").exists()
