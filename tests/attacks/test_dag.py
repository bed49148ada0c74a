from __future__ import annotations

import pytest
import torch
from detectors import SCALE, cell_label, cells, colored
from torch import nn

from monai_smia.attacks import DAG
from monai_smia.attacks.dag import GAMMA, wrong_classes
from monai_smia.victims import ClassificationVictim, SegmentationVictim

STEP = 0.01


def test_hand_made_detector_steps_active_set_and_end() -> None:
    """Two objects, both turned to the only class that the image does not hold; the less sure one is lost first."""
    image = colored((0.70, 0.5, 0.645), (0.5, 0.80, 0.705))
    victim, label = cells(), [cell_label(0, 1)]
    result = DAG(steps=50, step_size=STEP, clip=None, keep="last")(victim, image, label)
    # a box is decided from logit(0.05) = -2.944 on, colour 0.353: 35 steps of gamma from 0.70, 45 from 0.80. That class
    # 2 leads after 3 and 5 steps ends nothing
    assert result.gradients.tolist() == [45]
    moved = result.perturbation[0, :, ::8, 0]  # (K, cells)
    expected = torch.tensor([[-35, 0], [0, -45], [35, 45]], dtype=torch.float64) * STEP
    assert torch.allclose(moved, expected, atol=1e-12)
    assert torch.equal(result.linf[:46, 0].mul(1 / STEP).round(), torch.arange(46.0).double())
    scores = victim.dense_scores(victim.predict(result.adversarial))
    assert scores.argmax(2).tolist() == [[2, 2]]
    assert victim.dense_held(scores, torch.tensor([[0, 1]])).tolist() == [[False, False]]
    before = victim.dense_scores(victim.predict(image))
    assert victim.dense_held(before, torch.tensor([[0, -1]])).tolist() == [[True, False]]


def test_step_is_gamma_whatever_the_scores_are_scaled_by() -> None:
    image = colored((0.9, 0.5, 0.5), (0.5, 0.5, 0.5))
    result = DAG(steps=1, clip=None, keep="last")(cells(), image, [cell_label(0, None)])
    changed = result.perturbation[0, :, ::8, 0]
    assert changed[:, 1].abs().max() == 0  # no proposal there
    assert changed[0, 0].item() == pytest.approx(-GAMMA)
    assert sorted(changed[1:, 0].tolist()) == pytest.approx([0, GAMMA])


def test_bounded_stays_in_the_ball_and_takes_all_its_steps() -> None:
    image = colored((0.9, 0.5, 0.5))
    result = DAG(eps=0.02, steps=6)(cells(), image, [cell_label(0)])
    assert result.linf.max().item() == pytest.approx(0.02)
    assert result.gradients.tolist() == [6]
    assert result.linf[1].item() == pytest.approx(0.02)  # ten radii long, projected


def test_a_detector_of_one_class_is_made_to_see_nothing() -> None:
    image = colored((0.65,), (0.5,))
    victim, label = cells(1), [cell_label(0, None)]
    result = DAG(steps=100, step_size=STEP, clip=None, keep="last")(victim, image, label)
    # from logit 3 to below logit(0.05) = -2.944, by 0.2 a step
    assert result.gradients.tolist() == [30]
    assert result.perturbation[0, 0, ::8, 0].tolist() == pytest.approx([-30 * STEP, 0])
    assert victim.dense_scores(victim.predict(result.adversarial))[0, 0].argmax() == 1


def test_proposals_are_fixed_by_overlap_and_score() -> None:
    victim = cells()
    image = colored((0.5, 0.5 - 2.3 / SCALE, 0.0), (0.9, 0.1, 0.1), (0.9, 0.1, 0.1))  # sigmoid(-2.3) = 0.091
    label = {"boxes": torch.tensor([[0.0, 0, 8, 8], [7, 0, 16, 8]]), "labels": torch.tensor([1, 0])}
    prediction = victim.predict(image)
    assert victim.dense_truth(prediction, [label]).tolist() == [[-1, 0, -1]]
    lower = victim.dense_truth(prediction, [label], score=0.05)
    assert lower.tolist() == [[1, 0, -1]]


def test_no_target_is_no_attack() -> None:
    image = colored((0.9, 0.5, 0.5)).repeat(2, 1, 1, 1)
    result = DAG(steps=3, step_size=STEP)(cells(), image, [cell_label(None), cell_label(0)])
    assert result.perturbation[0].abs().max() == 0
    assert result.gradients.tolist() == [0, 3]
    assert result.adversarial.isfinite().all()


def test_hand_made_segmenter() -> None:
    """Three classes, the logits are the channels; the third is in no voxel, so that all go there."""
    network = nn.Conv2d(3, 3, 1, bias=False).double()
    network.weight.data = torch.eye(3, dtype=torch.float64)[:, :, None, None] * 7
    image = torch.tensor([[0.6, 0.4], [0.5, 0.8], [0.545, 0.505]], dtype=torch.float64)[None, :, :, None]
    label = torch.tensor([0, 1])[None, None, :, None]
    result = DAG(steps=50, step_size=STEP, clip=None, keep="last")(SegmentationVictim(network), image, label)
    expected = torch.tensor([[-3, 0], [0, -15], [3, 15]], dtype=torch.float64) * STEP
    assert torch.allclose(result.perturbation[0, :, :, 0], expected, atol=1e-12)
    assert result.gradients.tolist() == [15]


def test_segmenter_of_one_logit_flips_both_ways() -> None:
    network = nn.Conv2d(1, 1, 1).double()
    network.weight.data.fill_(4)
    network.bias.data.fill_(-2)
    image = torch.tensor([0.55, 0.41], dtype=torch.float64).view(1, 1, 2, 1)
    label = torch.tensor([1, 0]).view(1, 1, 2, 1)
    result = DAG(steps=50, step_size=0.04, keep="last")(SegmentationVictim(network, activation="sigmoid"), image, label)
    assert result.perturbation.flatten().tolist() == pytest.approx([-0.08, 0.12])


def test_batch_equals_its_images_one_by_one() -> None:
    torch.manual_seed(0)
    victim = cells()
    image = torch.cat([colored((0.9, 0.6, 0.5), (0.5, 0.8, 0.3)), colored((0.3, 0.6, 0.5), (0.5, 0.8, 0.9))])
    labels, seeds = [cell_label(0, 1), cell_label(1, 2)], [3, 8]
    together = DAG(steps=9, step_size=STEP, seed=seeds)(victim, image, labels)
    for i in range(2):
        alone = DAG(steps=9, step_size=STEP, seed=seeds[i])(victim, image[i : i + 1], labels[i : i + 1])
        assert torch.equal(alone.adversarial[0], together.adversarial[i])
        assert alone.gradients[0] == together.gradients[i]


def test_wrong_classes() -> None:
    truth = torch.tensor([0, 1, 1, -1])
    drawn = {tuple(wrong_classes(truth, 5, draw).tolist()) for draw in range(60)}
    assert {w for wrong in drawn for w in wrong} == {-1, 2, 3, 4}
    assert all(wrong[1] == wrong[2] for wrong in drawn)  # one for a class
    # all classes are in the image: any other one
    assert {tuple(wrong_classes(torch.tensor([0, 1, 2]), 3, d).tolist()) for d in range(60)} <= {
        (a, b, c) for a in (1, 2) for b in (0, 2) for c in (0, 1)
    }
    assert wrong_classes(torch.tensor([0, -1]), 2, 0, background=1).tolist() == [1, -1]
    assert wrong_classes(torch.tensor([0]), 3, 0, background=2).tolist() == [1]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="targeted must be False for DAG"):
        DAG(targeted=True)
    with pytest.raises(ValueError, match="norm must be linf"):
        DAG(norm="l2")
    victim = ClassificationVictim(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    with pytest.raises(ValueError, match="SegmentationVictim or a DetectionVictim, got ClassificationVictim"):
        DAG()(victim, torch.rand(1, 1, 4, 4), torch.tensor([0]))
