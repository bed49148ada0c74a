"""Bit for bit what torchattacks and foolbox give, and what ART gives to rounding.

BIM here and torchattacks' PGD compute ``x + clamp(x_t - x)``; torchattacks' BIM clamps x_t itself, between x - eps and
x + eps. By Sterbenz' lemma x_t - x is exact where x / 2 <= x_t <= 2 x, and the two agree bit for bit. Voxels below
2 eps may leave that range; there the two differ by the rounding of x_t - x. Both are tested.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import Case, network
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from monai_smia.attacks import BIM, FGSM, MIFGSM, PGD, Attack
from monai_smia.victims import ClassificationVictim, SegmentationVictim

EPS = (1 / 255, 4 / 255, 0.03, 0.05)
SCHEDULES = ((1, 1.0), (4, 0.25), (10, 0.25))  # steps, step size over eps
every_schedule = pytest.mark.parametrize(("steps", "ratio"), SCHEDULES)
every_eps = pytest.mark.parametrize("eps", EPS)
every_kind = pytest.mark.parametrize("kind", ["photo-classification", "photo-segmentation", "ct-segmentation"])


def smooth(shape: tuple[int, ...], seed: int) -> Tensor:
    low = torch.rand(*shape[:2], *[4] * (len(shape) - 2), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(low, size=shape[2:], mode="bilinear" if len(shape) == 4 else "trilinear")


def photo() -> Tensor:
    """8-bit grey levels over 255."""
    return (smooth((4, 2, 16, 16), 0) * 255).round() / 255


def volume() -> Tensor:
    """Whole HU, in a window of 1400, part of the voxels at its ends."""
    hounsfield = (smooth((4, 2, 12, 12, 12), 1) * 2000 - 1200).round()
    return ((hounsfield + 1000) / 1400).clamp(0, 1)


def case_of(task: str, image: Tensor) -> Case:
    net = network(task, image.ndim - 2, channels=image.shape[1], size=image.shape[-1]).eval()
    victim = (ClassificationVictim if task == "classification" else SegmentationVictim)(net)
    with torch.no_grad():
        return Case(victim, image, victim.decide(victim.predict(image)))


def case(kind: str, count: int = 4) -> Case:
    where, task = kind.split("-")
    return case_of(task, (photo() if where == "photo" else volume())[:count])


def plain_label(label: Tensor) -> Tensor:
    return label[:, 0] if label.ndim > 1 else label


def adversarial(attack: Attack, c: Case) -> Tensor:
    return attack(c.victim, c.image, c.label).adversarial


@pytest.fixture(scope="module")
def torchattacks() -> Any:
    return pytest.importorskip("torchattacks", reason="parity needs torchattacks: pip install torchattacks --no-deps")


@pytest.fixture(scope="module")
def foolbox() -> Any:
    return pytest.importorskip("foolbox", reason="parity needs foolbox: pip install foolbox")


class TestTorchattacks:
    @every_kind
    @every_eps
    @pytest.mark.parametrize("count", [1, 4])  # its mean over the batch is exact for powers of two
    def test_fgsm(self, torchattacks: Any, count: int, eps: float, kind: str) -> None:
        c = case(kind, count)
        theirs = torchattacks.FGSM(c.victim.network, eps=eps)(c.image, plain_label(c.label))
        assert torch.equal(adversarial(FGSM(eps=eps, keep="last"), c), theirs)
        assert not torch.equal(theirs, c.image)

    @every_kind
    @every_eps
    @every_schedule
    @pytest.mark.parametrize("count", [1, 4])
    def test_pgd_and_bim(self, torchattacks: Any, count: int, steps: int, ratio: float, eps: float, kind: str) -> None:
        c = case(kind, count)
        peer = torchattacks.PGD(c.victim.network, eps=eps, alpha=ratio * eps, steps=steps, random_start=False)
        theirs = peer(c.image, plain_label(c.label))
        options = {"eps": eps, "steps": steps, "step_size": ratio * eps, "keep": "last"}
        assert torch.equal(adversarial(BIM(**options), c), theirs)
        assert torch.equal(adversarial(PGD(random_start=False, **options), c), theirs)

    @every_kind
    def test_targeted(self, torchattacks: Any, kind: str) -> None:
        c = case(kind)
        c.label = (c.label + 1) % 3
        peer = torchattacks.PGD(c.victim.network, eps=0.03, alpha=0.01, steps=5, random_start=False)
        peer.set_mode_targeted_by_label(quiet=True)
        theirs = peer(c.image, plain_label(c.label))
        options = {"eps": 0.03, "steps": 5, "step_size": 0.01, "keep": "last"}
        assert torch.equal(adversarial(BIM(targeted=True, **options), c), theirs)
        assert not torch.equal(adversarial(BIM(**options), c), theirs)

    @every_kind
    @every_eps
    @every_schedule
    def test_its_bim_where_no_voxel_is_dark(
        self, torchattacks: Any, steps: int, ratio: float, eps: float, kind: str
    ) -> None:
        c = case(kind)
        c.image = c.image.clamp_min(2 * eps + 1e-6)
        theirs = self.bim(torchattacks, c, eps, steps, ratio)
        options = {"eps": eps, "steps": steps, "step_size": ratio * eps, "keep": "last"}
        assert torch.equal(adversarial(BIM(**options), c), theirs)

    @every_kind
    @every_eps
    @every_schedule
    def test_its_bim_to_rounding_where_voxels_are_dark(
        self, torchattacks: Any, steps: int, ratio: float, eps: float, kind: str
    ) -> None:
        c = case(kind)
        theirs = self.bim(torchattacks, c, eps, steps, ratio)
        options = {"eps": eps, "steps": steps, "step_size": ratio * eps, "keep": "last"}
        ours = adversarial(BIM(**options), c)
        ulp = torch.finfo(torch.float32).eps * 2 * eps  # of the largest number below which a voxel counts as dark
        assert float((ours - theirs).abs().max()) <= steps * ulp
        assert torch.equal(ours[c.image >= 2 * eps], theirs[c.image >= 2 * eps])

    @staticmethod
    def bim(torchattacks: Any, c: Case, eps: float, steps: int, ratio: float) -> Tensor:
        peer = torchattacks.BIM(c.victim.network, eps=eps, alpha=ratio * eps, steps=steps)
        return peer(c.image, plain_label(c.label))

    @pytest.mark.parametrize("task", ["classification", "segmentation"])
    def test_mifgsm(self, torchattacks: Any, task: str) -> None:
        c = case(f"photo-{task}")
        peer = torchattacks.MIFGSM(c.victim.network, eps=0.03, alpha=0.01, steps=8, decay=0.9)
        attack = MIFGSM(eps=0.03, steps=8, step_size=0.01, decay=0.9, keep="last")
        assert torch.equal(adversarial(attack, c), peer(c.image, plain_label(c.label)))

    @pytest.mark.parametrize("task", ["classification", "segmentation"])
    def test_pgd_l2(self, torchattacks: Any, task: str) -> None:
        c = case(f"photo-{task}")
        peer = torchattacks.PGDL2(c.victim.network, eps=0.5, alpha=0.2, steps=6, random_start=False)
        attack = PGD(eps=0.5, norm="l2", steps=6, step_size=0.2, random_start=False, keep="last")
        theirs = peer(c.image, plain_label(c.label))
        torch.testing.assert_close(adversarial(attack, c), theirs, rtol=0, atol=2e-6)

    def test_on_real_fundus_photographs(self, torchattacks: Any, shared_data: Callable[[str], Path]) -> None:
        files = sorted((shared_data("fundus") / "images").iterdir())[:2]
        crops = [np.asarray(Image.open(f).convert("RGB"))[224:288, 224:288].transpose(2, 0, 1) for f in files]
        self.check_real(torchattacks, torch.from_numpy(np.stack(crops)).float() / 255, "classification")

    def test_on_a_real_ct(self, torchattacks: Any, shared_data: Callable[[str], Path]) -> None:
        file = min(shared_data("ct").rglob("*.nii.gz"))
        hounsfield = np.asarray(nib.load(file).dataobj)[96:112, 96:112, 60:76].astype(np.float32)
        image = ((torch.from_numpy(hounsfield) + 1000) / 1400).clamp(0, 1)[None, None]
        self.check_real(torchattacks, image, "segmentation")

    @staticmethod
    def check_real(torchattacks: Any, image: Tensor, task: str) -> None:
        c = case_of(task, image)
        for eps in EPS:
            options = {"eps": eps, "steps": 10, "step_size": eps / 4}
            peer = torchattacks.PGD(c.victim.network, eps=eps, alpha=eps / 4, steps=10, random_start=False)
            theirs = peer(c.image, plain_label(c.label))
            assert torch.equal(adversarial(BIM(keep="last", **options), c), theirs)
            assert torch.equal(adversarial(PGD(random_start=False, keep="last", **options), c), theirs)


classifiers = pytest.mark.parametrize("kind", ["photo-classification", "ct-classification"])  # all that its loss takes


class TestFoolbox:
    @classifiers
    @every_eps
    @every_schedule
    def test_linf(self, foolbox: Any, steps: int, ratio: float, eps: float, kind: str) -> None:
        c = case(kind)
        peer = foolbox.attacks.LinfProjectedGradientDescentAttack(
            abs_stepsize=ratio * eps, steps=steps, random_start=False
        )
        options = {"eps": eps, "steps": steps, "step_size": ratio * eps, "keep": "last"}
        ours, theirs = adversarial(PGD(random_start=False, **options), c), self.run(foolbox, peer, c, eps)
        assert torch.equal(ours, theirs)

    @classifiers
    @every_eps
    def test_fgsm(self, foolbox: Any, eps: float, kind: str) -> None:
        c = case(kind)
        peer = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        assert torch.equal(adversarial(FGSM(eps=eps, keep="last"), c), self.run(foolbox, peer, c, eps))

    @classifiers
    def test_l2(self, foolbox: Any, kind: str) -> None:
        c = case(kind)
        peer = foolbox.attacks.L2ProjectedGradientDescentAttack(abs_stepsize=0.2, steps=6, random_start=False)
        attack = PGD(eps=0.5, norm="l2", steps=6, step_size=0.2, random_start=False, keep="last")
        torch.testing.assert_close(adversarial(attack, c), self.run(foolbox, peer, c, 0.5), rtol=0, atol=2e-6)

    @staticmethod
    def run(foolbox: Any, peer: Any, c: Case, eps: float) -> Tensor:
        model = foolbox.PyTorchModel(c.victim.network, bounds=(0, 1), device="cpu")
        criterion = foolbox.criteria.Misclassification(plain_label(c.label))
        return peer.run(model, c.image, criterion, epsilon=eps)


@every_eps
@every_schedule
def test_art(steps: int, ratio: float, eps: float) -> None:
    """ART clips to the range before it projects, which may round differently."""
    reason = "parity needs adversarial-robustness-toolbox"
    evasion = pytest.importorskip("art.attacks.evasion", reason=reason)
    estimators = pytest.importorskip("art.estimators.classification", reason=reason)
    c = case("photo-classification")
    estimator = estimators.PyTorchClassifier(
        c.victim.network, torch.nn.CrossEntropyLoss(), (2, 16, 16), 3, clip_values=(0, 1), device_type="cpu"
    )
    peer = evasion.ProjectedGradientDescentPyTorch(
        estimator, norm=np.inf, eps=eps, eps_step=ratio * eps, max_iter=steps, verbose=False
    )
    theirs = torch.from_numpy(peer.generate(c.image.numpy(), np.eye(3, dtype=np.float32)[c.label.numpy()]))
    ours = adversarial(PGD(eps=eps, steps=steps, step_size=ratio * eps, random_start=False, keep="last"), c)
    assert float((ours - theirs).abs().max()) <= steps * torch.finfo(torch.float32).eps / 2
    assert float((theirs - c.image).abs().max()) > 0.99 * eps
