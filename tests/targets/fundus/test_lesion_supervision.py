from __future__ import annotations

import torch
from torch.nn import functional as F

from monai_smia.targets.fundus import GradingLoss, LesionSupervision, ResNetGCN
from monai_smia.targets.fundus.lesion_supervision import Supervised


def output() -> Supervised:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4), (2, 3, 2, 2), (2, 2))
    return Supervised(*(torch.randn(shape, generator=generator) for shape in shapes))


def batch() -> dict[str, torch.Tensor]:
    lesions = torch.zeros(2, 3, 32, 32)
    lesions[1, 0, 20, 3] = 1  # in the cell of the second row, first column
    values = {"label": [2, 4], "paint": [0, 1], "dme": [1, -1]}
    return {"lesions": lesions, **{name: torch.tensor(value) for name, value in values.items()}}


def test_loss_by_hand() -> None:
    out = output()
    grade = F.binary_cross_entropy_with_logits(out.grade, torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]]))
    cells = torch.zeros(3, 2, 2)
    cells[0, 1, 0] = 1
    lesions = F.binary_cross_entropy_with_logits(out.lesions[1], cells)
    edema = F.binary_cross_entropy_with_logits(out.edema[0], torch.tensor([1.0, 0]))
    torch.testing.assert_close(GradingLoss(10.0, 0.3)(out, batch()), grade + 10 * lesions + 0.3 * edema)


def test_unknown_lesions_and_edema_do_not_count() -> None:
    unknown = {**batch(), "paint": torch.zeros(2), "dme": torch.full((2,), -1)}
    torch.testing.assert_close(GradingLoss(10.0, 0.3)(output(), unknown), GradingLoss(0.0, 0.0)(output(), batch()))


def test_the_grader_is_trained_in_place() -> None:
    torch.manual_seed(0)
    network = ResNetGCN(out_channels=4, layers=(1, 1, 1, 1), widths=(4, 8, 8, 8))
    training = LesionSupervision(network, mixed_precision=False).eval()
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(training(image).grade, network(image))
    GradingLoss()(training(image), batch() | {"lesions": torch.ones(2, 3, 64, 64)}).backward()
    assert [name for name, p in training.named_parameters() if p.grad is None] == []


def test_mixed_precision_gives_float32_close_to_it() -> None:
    torch.manual_seed(0)
    network = ResNetGCN(out_channels=4, layers=(1, 1, 1, 1), widths=(4, 8, 8, 8))
    exact, mixed = (LesionSupervision(network, mixed_precision=flag).eval() for flag in (False, True))
    mixed.load_state_dict(exact.state_dict())
    image = torch.rand(2, 3, 64, 64)
    for a, b in zip(exact(image), mixed(image), strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.1)
