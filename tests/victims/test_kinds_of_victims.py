"""What all victims have in common: each is itself, short to print, and asks its network once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from detectors import NOTHING, SOMETHING, cells, colored, images, small_retina
from torch import Tensor, nn

from monai_smia.attacks import SMIA
from monai_smia.victims import ClassificationVictim, DetectionVictim, SegmentationVictim, Victim
from monai_smia.victims.frozen_network import frozen_network, modules_of
from monai_smia.victims.loss_modules import module_loss

NETWORK, CELLS = nn.Conv2d(1, 2, 1), cells().network
VICTIMS: dict[str, Any] = {
    "segmentation": lambda: SegmentationVictim(NETWORK),
    "classification": lambda: ClassificationVictim(NETWORK),
    "detection": lambda: DetectionVictim(CELLS, anchors=cells().anchors),
}


@pytest.mark.parametrize("task", VICTIMS)
def test_two_victims_of_one_network_are_two(task: str) -> None:
    one, other = VICTIMS[task](), VICTIMS[task]()
    assert one == one
    assert one != other
    assert len({one, other}) == 2


@pytest.mark.parametrize("task", VICTIMS)
def test_arguments_are_named_and_the_network_is_not_printed(task: str) -> None:
    victim = VICTIMS[task]()
    text = repr(victim)
    for part in ("network=", "detector=", "_frozen", "_seen", "Conv2d", "Cells("):
        assert part not in text
    assert "inferer=None" in text
    assert "straight_through=False" in text
    with pytest.raises(TypeError, match="positional"):
        type(victim)(NETWORK, None)


def test_one_batch_of_two_points_is_of_tensors() -> None:
    victim = small_retina()
    with pytest.raises(ValueError, match="one batch of two points needs a network that returns a tensor, got dict"):
        victim.predict_both(images(), images())
    with pytest.raises(ValueError, match="one batch of two points"):
        SMIA(eps=0.1, steps=2, one_batch=True)(victim, images(), [SOMETHING])
    segmenter = SegmentationVictim(nn.Conv2d(1, 2, 1, bias=False))
    first, second = torch.rand(2, 3, 1, 4, 4)
    one, other = segmenter.predict_both(first, second)
    assert torch.equal(one, segmenter.predict(first))
    assert torch.equal(other, segmenter.predict(second))


@pytest.mark.parametrize("index", [torch.tensor([True, False, True]), torch.tensor([0, 2])])
def test_labels_of_some_images(index: Tensor) -> None:
    labels = [{**NOTHING, "number": n} for n in range(3)]
    chosen: Any = small_retina().select_label(labels, index)
    assert [each["number"] for each in chosen] == [0, 2]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("score_thresh", (0, 0.4, 1), (-0.01, 1.01)),
        ("nms_thresh", (0, 1), (-0.01, 1.01)),
        ("found_score", (0, 1), (-0.01, 1.01)),
        ("found_iou", (0.01, 1), (0, 1.01)),
    ],
)
def test_shares_of_a_detector(name: str, good: tuple[float, ...], bad: tuple[float, ...]) -> None:
    victim = cells()
    for value in good:
        assert getattr(cells(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(ValueError, match=f"{name} must lie in"):
            replace(victim, **{name: value})


def test_defaults_of_a_detector_reach_the_box_selector() -> None:
    selector = cells().detector.box_selector  # type: ignore[union-attr]
    assert (selector.score_thresh, selector.topk_candidates_per_level) == (0.05, 1000)
    assert (selector.nms_thresh, selector.detections_per_img) == (0.5, 100)
    assert (cells().found_score, cells().found_iou) == (0.3, 0.5)
    assert (cells().output.found_score, cells().output.found_iou) == (0.3, 0.5)


def test_proposals_of_a_dense_attack_by_hand() -> None:
    """More than a tenth of overlap and of score; of several objects the one of most overlap."""
    victim = cells()
    prediction = victim.predict(colored((0.9, 0.1, 0.1), (0.1, 0.389, 0.1), (0.1, 0.391, 0.1), (0.9, 0.9, 0.9)))
    boxes = torch.tensor([[0.0, 0, 8, 8], [8, 0, 24, 8], [0, 0, 2, 2], [31.2, 0, 32, 8], [24.0, 0, 24.9, 8]]).double()
    label = [{"boxes": boxes, "labels": torch.tensor([0, 1, 2, 0, 1])}]
    # a score of .1 is a logit of -2.197: colors of .389 and .391 lie at either side; .8 of 8 columns is a tenth
    assert victim.dense_truth(prediction, label).tolist() == [[0, -1, 1, 1]]
    assert victim.dense_truth(prediction, label, score=0.05).tolist() == [[0, 1, 1, 1]]
    assert victim.dense_truth(prediction, label, iou=0.12).tolist() == [[0, -1, 1, -1]]
    assert victim.dense_truth(prediction, [NOTHING]).tolist() == [[-1] * 4]
    scores = victim.dense_scores(prediction)
    assert scores.shape == (1, 4, 4)
    assert scores[0, :, 3].tolist() == pytest.approx([float(torch.tensor(0.05).logit())] * 4)


def test_damage_of_an_image_without_objects_is_one_where_one_is_found() -> None:
    victim = cells(found_score=0.5)
    for color, damage in ((0.51, 1.0), (0.49, 0.0)):
        prediction = victim.predict(colored((color, 0.1, 0.1)))
        assert victim.damage(prediction, [NOTHING]).tolist() == [damage]
        decided = victim.decide(prediction)
        assert victim.damage(prediction, decided).tolist() == [0.0]
    invented = cells(loss="invented", found_score=0.5)
    assert invented.damage(invented.predict(colored((0.1, 0.1, 0.1))), [NOTHING]).tolist() == [0.0]
    assert invented.damage(invented.predict(colored((0.9, 0.1, 0.1), (0.9, 0.1, 0.1))), [NOTHING]).tolist() == [1.0]


class Counting(Victim):
    """A victim of one value a sample, which says how often it was asked."""

    losses = {"squared_error": lambda output, prediction, target: (prediction - target).square()}
    divergences = losses

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, loss="squared_error", divergence="squared_error")

    def check_label(self, prediction: Any, label: Any) -> None:
        pass

    def decide(self, prediction: Tensor) -> Tensor:
        return prediction > 0

    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        return (prediction - label).abs()


@pytest.mark.parametrize(("label", "fits"), [(0.0, True), (1.0, True), (-0.001, False), (1.001, False)])
def test_damage_lies_from_nothing_to_all(label: float, fits: bool) -> None:
    victim = Counting(nn.Identity())
    prediction = torch.tensor([0.0])
    if label <= 1:
        assert victim.damage(prediction, torch.tensor([abs(label)])).tolist() == pytest.approx([abs(label)])
    if not fits:
        with pytest.raises(ValueError, match=r"damage must be a value in \[0, 1\] for each of 1 samples"):
            victim.damage(prediction, torch.tensor([abs(label) + 1]))
    with pytest.raises(ValueError, match="damage must be a value"):
        victim.damage(torch.zeros(2), torch.zeros(2, 1))


def test_a_loss_is_one_finite_value_a_sample() -> None:
    victim = Counting(nn.Identity())
    assert victim.checked_loss(torch.tensor([1.0, 3.0]), torch.zeros(2)).tolist() == [1.0, 9.0]
    with pytest.raises(ValueError, match=r"one value per sample, shape \(2,\), got \(2, 2\)"):
        victim.checked_loss(torch.zeros(2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"NaN or infinite for samples \[1\]"):
        victim.checked_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, torch.inf]))
    with pytest.raises(ValueError, match=r"one value per sample, shape \(2,\), got float"):
        victim.with_loss(lambda prediction, label: 1.0).checked_loss(torch.zeros(2), torch.zeros(2))  # type: ignore[arg-type, return-value]


class Kept(nn.Module):
    """Modules where PyTorch does not look, one of them twice, and a PReLU of one slope and of several."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.PReLU(init=0.3)
        self.several = nn.PReLU(2)
        hidden = nn.Dropout()
        self.plain = [hidden, (nn.BatchNorm2d(2), {"deep": [hidden, nn.Conv2d(2, 2, 1)]})]
        self.other = "text"
        self.none: Any = None
        self.register_module("empty", None)

    def forward(self, x: Tensor) -> Tensor:
        return self.several(self.own(x))


def test_modules_in_every_kind_of_container_once() -> None:
    kept = Kept()
    names = [type(module).__name__ for module in modules_of(kept)]
    assert sorted(names) == ["BatchNorm2d", "Conv2d", "Dropout", "Kept", "PReLU", "PReLU"]
    assert names[0] == "Kept"


def test_a_frozen_network_computes_the_same_and_is_as_it_was() -> None:
    kept, image = Kept().train(), torch.randn(1, 2, 3, 3)
    kept.plain[0].eval()  # type: ignore[union-attr]
    before = [(m.training, type(m)) for m in modules_of(kept)]
    expected = kept(image)
    with frozen_network(kept):
        assert not any(module.training for module in modules_of(kept))
        assert not any(p.requires_grad for module in modules_of(kept) for p in module.parameters())
        assert "forward" in vars(kept.own)
        assert "forward" not in vars(kept.several)
        assert torch.equal(kept(image), expected)
        with frozen_network(kept):
            pass
        assert "forward" in vars(kept.own)
        assert not kept.training
    assert "forward" not in vars(kept.own)
    assert [(m.training, type(m)) for m in modules_of(kept)] == before
    assert all(p.requires_grad for module in modules_of(kept) for p in module.parameters())


def test_a_network_in_eval_mode_with_one_part_in_train_mode() -> None:
    kept = Kept().eval()
    for module in modules_of(kept):
        module.eval()
    batch_norm = kept.plain[1][0]  # type: ignore[index]
    batch_norm.train()
    with frozen_network(kept):
        assert not batch_norm.training
    assert batch_norm.training
    assert not kept.training


def test_a_module_of_losses_by_voxels_that_count() -> None:
    """Cross entropy of what counts, with the label's channel and without, of one value and of several."""
    victim = SegmentationVictim(nn.Identity(), ignore_index=9)
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([[[0, 1, 2, 9]], [[1, 1, 0, 2]]])
    ce = nn.functional.cross_entropy
    expected = [float(ce(logits[:1, :, :3], label[:1, 0, :3])), float(ce(logits[1:], label[1:, 0]))]
    assert module_loss(victim, nn.CrossEntropyLoss(), logits, label).tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"loss must reduce to one value, got \(1, 3\)"):
        module_loss(victim, nn.CrossEntropyLoss(reduction="none"), logits, label)
    with pytest.raises(ValueError, match=r"cannot leave out the voxels of ignore_index=9"):
        module_loss(victim, nn.MSELoss(), logits, label)
    several = SegmentationVictim(nn.Identity(), ignore_index=9, activation="sigmoid")
    truth = torch.tensor([[[0, 1, 9, 1], [1, 9, 0, 0], [1, 1, 1, 0]]])
    counted = truth != 9
    bce = nn.functional.binary_cross_entropy_with_logits(logits[:1][counted], truth[counted].float())
    found = module_loss(several, nn.BCEWithLogitsLoss(), logits[:1], truth)
    assert found.tolist() == pytest.approx([float(bce)])
    for weighted in (nn.BCEWithLogitsLoss(pos_weight=torch.ones(4)), nn.BCEWithLogitsLoss(weight=torch.ones(4))):
        with pytest.raises(ValueError, match="where the channels ignore different voxels"):
            module_loss(several, weighted, logits[:1], truth)


@pytest.mark.parametrize("kind", [ClassificationVictim, SegmentationVictim, DetectionVictim])
def test_all_but_the_network_is_given_by_name(kind: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind(nn.Identity(), None)
