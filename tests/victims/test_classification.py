from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from helpers import case, network
from monai.losses import FocalLoss
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.attacks import BIM, PGD
from monai_smia.victims import ClassificationVictim


def victim(**options: object) -> ClassificationVictim:
    return ClassificationVictim(nn.Identity(), **options)  # type: ignore[arg-type]


def test_margin_is_positive_where_the_decision_is_wrong() -> None:
    c = case("classification", 2, batch=8)
    prediction = c.victim.predict(c.image).detach()
    label = torch.randint(0, 3, (8,), generator=torch.Generator().manual_seed(0))
    margin = c.victim.with_loss("margin").loss(prediction, label)
    assert torch.equal(margin > 0, c.victim.damage(prediction, label) == 1)


def test_damage_by_hand() -> None:
    prediction = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 3.0]])
    assert victim().damage(prediction, torch.tensor([0, 0])).tolist() == [0, 1]
    several = victim(activation="sigmoid")
    assert several.decide(torch.tensor([[2.0, -1.0, 0.0]])).tolist() == [[1, 0, 0]]
    label = torch.tensor([[1, 1, 0, 0]])
    assert several.damage(torch.tensor([[2.0, -1.0, 3.0, -1.0]]), label).tolist() == [0.5]
    ignoring = victim(activation="sigmoid", ignore_index=-1)
    label = torch.tensor([[1, 1, -1, -1]])
    assert ignoring.damage(torch.tensor([[2.0, -1.0, 3.0, -1.0]]), label).tolist() == [0.5]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_single_logit(shape: tuple[int, ...]) -> None:
    net = network("classification", 2, classes=1).eval()
    single = ClassificationVictim(net, activation="sigmoid")
    image = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([1, 0, 1]).view(shape)
    logits = net(image)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor([1.0, 0, 1]), reduction="none")
    torch.testing.assert_close(single.loss(logits, label), expected)
    result = PGD(eps=0.1)(single, image, label)
    assert bool((result.loss > expected).all())
    assert bool(((result.damage == 0) | (result.damage == 1)).all())


def test_several_labels_under_attack() -> None:
    c = case("classification", 3, activation="sigmoid")
    assert c.label.shape == (3, 3)
    result = PGD(eps=0.3)(c.victim, c.image, c.label)
    assert set((result.damage * 3).round(decimals=4).tolist()) <= {0, 1, 2, 3}
    assert bool((result.loss > result.loss_history[0]).all())


def test_ignored_labels_give_no_gradient() -> None:
    c = case("classification", 2, activation="sigmoid", ignore_index=-1)
    c.label[:, 1] = -1
    prediction = c.victim.predict(c.image)
    (gradient,) = torch.autograd.grad(c.victim.loss(prediction, c.label).sum(), prediction)
    assert not gradient[:, 1].any()
    assert gradient[:, [0, 2]].all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_module_is_taken_sample_by_sample(reduction: str) -> None:
    c = case("classification", 2, loss=nn.CrossEntropyLoss(label_smoothing=0.1, reduction=reduction))
    prediction = c.victim.predict(c.image).detach()
    expected = F.cross_entropy(prediction, c.label, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(c.victim.loss(prediction, c.label), expected)


def test_focal_loss_of_monai() -> None:
    net = network("classification", 2).eval()
    focal = ClassificationVictim(net, activation="sigmoid", loss=FocalLoss(gamma=2.0))
    prediction, label = (
        torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[1, 0, 0], [0, 1, 1]]),
    )
    p = torch.where(label == 1, prediction.sigmoid(), 1 - prediction.sigmoid())
    torch.testing.assert_close(focal.loss(prediction, label), (-((1 - p) ** 2) * p.log()).mean(1))


def test_a_loss_without_reduction_is_refused() -> None:
    c = case("segmentation", 2, loss=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ValueError, match="loss must reduce to one value"):
        c.victim.loss(c.victim.predict(c.image), c.label[:, 0])


def test_own_loss() -> None:
    c = case("classification", 2)

    def logit(prediction: Tensor, label: Tensor) -> Tensor:
        return -prediction.gather(1, label[:, None])[:, 0]

    own = ClassificationVictim(c.victim.network, loss=logit)
    result = BIM(eps=0.05)(own, c.image, c.label)
    torch.testing.assert_close(result.loss, logit(own.predict(result.adversarial), c.label).detach())


GRADES = torch.tensor([[-3.0, -4.0, -5.0, -6.0], [2.0, 1.0, -1.0, -2.0], [2.0, -1.0, 1.0, -2.0], [4.0, 3.0, 2.0, 1.0]])


def test_ordinal_by_hand() -> None:
    ordinal = victim(activation="ordinal")
    assert ordinal.decide(GRADES).tolist() == [0, 2, 2, 4]
    assert ordinal.damage(GRADES, torch.tensor([0, 2, 1, 3])).tolist() == [0, 0, 1, 1]
    label = torch.tensor([0, 2, 1, 4])
    more = torch.tensor([[0.0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    expected = F.binary_cross_entropy_with_logits(GRADES, more, reduction="none").sum(1)
    torch.testing.assert_close(ordinal.loss(GRADES, label), expected)
    margins = victim(activation="ordinal", loss="margin").loss(GRADES, label)
    assert margins.tolist() == [-3, -1, 1, -1]  # the third passes two thresholds instead of one


def test_ordinal_probabilities_scores_and_margin_agree_with_the_decision() -> None:
    ordinal = victim(activation="ordinal", loss="margin")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 4, generator=generator)  # most of them contradict each other
    label = torch.randint(0, 5, (200,), generator=generator)
    decided = ordinal.decide(logits)
    probabilities = ordinal.output.probabilities(logits)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(200))
    assert bool((probabilities >= 0).all())
    assert torch.equal((probabilities.cumsum(1) < 0.5).sum(1), decided)  # the median grade
    assert torch.equal(ordinal.scores(logits).argmax(1), decided)
    assert torch.equal(ordinal.loss(logits, label) > 0, decided != label)
    assert decided.unique().tolist() == [0, 1, 2, 3, 4]


def test_ordinal_under_attack() -> None:
    c = case("classification", 2, activation="ordinal")
    result = PGD(eps=0.3)(c.victim, c.image, c.label)
    assert bool((result.loss > result.loss_history[0]).all())
    assert bool((result.damage == 1).any())
    assert float(c.victim.divergence(GRADES, GRADES).min()) > 0


@pytest.mark.parametrize(
    ("logits", "label", "message"),
    [
        (GRADES, torch.tensor([0, 1, 2, 5]), "whole grades from 0 to 4, got values from 0 to 5"),
        (GRADES, torch.tensor([-1, 1, 2, 3]), "whole grades from 0 to 4, got values from -1 to 3"),
        (GRADES, torch.tensor([0.5, 1, 2, 3]), "whole grades from 0 to 4"),
        (GRADES, torch.zeros(4, 1), r"needs logits \(B, K - 1\) and grades \(B,\), got shapes \(4, 4\) and \(4, 1\)"),
        (GRADES[..., None], torch.zeros(4), "needs logits"),
    ],
)
def test_ordinal_labels_that_do_not_fit(logits: Tensor, label: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        victim(activation="ordinal").check_label(logits, label)


def test_scores_need_one_class_to_be_decided_for() -> None:
    logits = torch.tensor([[2.0, -1.0, 3.0]])
    assert torch.equal(victim().scores(logits), logits)
    assert victim(activation="sigmoid").scores(logits[:, :1]).tolist() == [[0.0, 2.0]]
    with pytest.raises(ValueError, match="one class must be decided for: activation='sigmoid' has 3 labels"):
        victim(activation="sigmoid").scores(logits)


@pytest.mark.parametrize("grade", [99, 100, 101])
def test_no_class_is_ignored_unless_one_is_named(grade: int) -> None:
    loss = victim().loss(torch.zeros(1, 120), torch.tensor([grade]))
    assert float(loss) == pytest.approx(math.log(120))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_whole_grades_of_any_type_fit(dtype: torch.dtype) -> None:
    ordinal = victim(activation="ordinal")
    logits = torch.tensor([[3.0, 2.0, -1.0], [3.0, 2.0, -1.0]])
    assert ordinal.damage(logits, torch.tensor([2, 1], dtype=dtype)).tolist() == [0, 1]


def test_what_it_is_bound_to_is_no_argument_and_not_told() -> None:
    private = [f for f in fields(ClassificationVictim) if f.name.startswith("_")]
    assert private
    assert not any(f.init or f.repr for f in private)
