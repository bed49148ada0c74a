"""Small parts of an evaluation by themselves: times, sizes, errors, probes, and what is said of them."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.attacks import BIM, PGD, Ensemble, NetworkSpaceAttack, Noise, Square
from monai_smia.evaluation import PlannedAttack
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.console import LOGGER, console
from monai_smia.evaluation.errors import (
    DisagreementError,
    DiskFullError,
    cause_of,
    failure_of,
    kind_of,
)
from monai_smia.evaluation.pace import Pace, duration_text, planned_predictions
from monai_smia.evaluation.predictor import case_seed
from monai_smia.evaluation.probe import probe, probing_attack
from monai_smia.evaluation.told import tell_plan
from monai_smia.victims import ClassificationVictim


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (1, "1 second"),
        (1.01, "2 seconds"),
        (100, "100 seconds"),
        (100.5, "2 minutes"),
        (6000, "100 minutes"),
        (6001, "1.7 hours"),
        (216000, "60 hours"),
        (216001, "2.6 days"),
        (864000, "10 days"),
        (864001, "10.1 days"),
    ],
)
def test_a_duration_is_rounded_up(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_predictions_of_a_row_beside_its_gradients() -> None:
    pgd, square = PGD(eps=0.1), Square(eps=0.1, queries=9)
    told = [None, pgd, square, Ensemble([pgd, square, Ensemble([square])]), NetworkSpaceAttack(square)]
    assert [planned_predictions(attack) for attack in told] == [0, 1, 10, 21, 10]


NOISE = PlannedAttack(Noise(eps=0.1), 0.1, "x")
LONG = PlannedAttack(PGD(eps=0.1, steps=9), 0.1, "x")


def pace(**options: Any) -> Pace:
    found = Pace(**options)
    found.gradient, found.prediction = 2.0, 1.0
    return found


def test_what_is_left_goes_by_what_rows_took() -> None:
    found = pace()
    assert (found.expected(LONG), found.expected(LONG, 3.0)) == (20.0, 60.0)
    found.remember(LONG.slug, 5.0)
    assert found.expected(LONG, 3.0) == 5.0
    found.note(LONG, 30.0)
    found.note(LONG, 40.0)
    assert found.expected(LONG, 3.0) == 35.0
    assert found.left({NOISE: 3}) == pytest.approx(3 * 2 * (70 + 2) / (40 + 2))
    assert pace().left({}) == 0
    assert Pace().left({LONG: 2}) == 0


def test_the_most_that_it_takes_counts_slack_and_probes() -> None:
    clean = PlannedAttack()
    found = pace()
    for cases, probed in ((1, 1), (3, 3), (5, 3)):
        assert found.at_most({clean: cases, LONG: 1}) == pytest.approx(1.25 * (cases + 20 + probed * 10 * 2))
    assert found.at_most({LONG: 1}) == 25.0


def test_a_gradient_and_a_prediction_are_timed() -> None:
    victim = ClassificationVictim(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    case = Case("a", "a", torch.rand(1, 1, 4), torch.tensor([0]), torch.ones(1, 1, 4, dtype=torch.bool))
    asked: list[Tensor] = []
    found = Pace()
    found.measure(victim, case, lambda case, image: asked.append(image))
    assert found.gradient > 0
    assert found.prediction > 0
    assert asked == [case.image]


@dataclass
class Told:
    plan: list[PlannedAttack]
    cases: list[dict[str, Any]]
    figure: Any = None
    figures: int = 0
    write_volumes: str = "worst"
    texts: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("options", "size", "kept"),
    [
        ({}, "0 kB", "records, report."),
        ({"stored": True}, "64 kB", "records, report, adversarial images of the worst case of each attack"),
        ({"stored": True, "write_volumes": "all"}, "192 kB", "adversarial images of every case"),
        ({"stored": True, "write_volumes": "none"}, "0 kB", "adversarial images of no case"),
        ({"figure": 1, "figures": 0}, "0 kB", "records, report."),
        ({"figure": 1, "figures": 1}, "12 MB", "records, report, pictures of 3 cases."),
        ({"figures": 5}, "0 kB", "records, report."),
        ({"figure": 1, "figures": 5, "stored": True}, "12 MB", "pictures of 3 cases, adversarial images"),
        ({"voxels": 10, "stored": True}, "12 kB", "adversarial images"),
        ({"voxels": 2_000_000, "stored": True}, "64 MB", "adversarial images"),
        ({"voxels": 200_000_000, "stored": True}, "6.4 GB", "adversarial images"),
    ],
)
def test_what_is_told_before(
    options: dict[str, Any], size: str, kept: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two attacks on three cases, the largest file twice that of the first: 8 bytes a voxel and its change."""
    items = []
    for name, count in (("a", 2000), ("b", 4000), ("c", 1)):
        (tmp_path / name).write_bytes(bytes(count))
        items.append({"case": name, "image": str(tmp_path / name)})
    voxels = options.pop("voxels", 2000)
    found = pace(stored=options.pop("stored", False))
    line: Any = SimpleNamespace(pace=found, done=0, todo={PlannedAttack(): 3, NOISE: 3, LONG: 3})
    case: Any = SimpleNamespace(name="a", unlabeled=False, image=SimpleNamespace(numel=lambda: voxels))
    with caplog.at_level(logging.INFO):
        tell_plan(line, Told([PlannedAttack(), NOISE, LONG], items, **options), case)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("3 cases x 3 rows, at most: 9 gradients a case at 2 s, ")
    assert first.endswith(f", {size}."), first
    assert kept in second


def test_one_case_and_what_was_done_before(caplog: pytest.LogCaptureFixture) -> None:
    line: Any = SimpleNamespace(pace=pace(), done=1, todo={NOISE: 1})
    case: Any = SimpleNamespace(name="b", unlabeled=False, image=SimpleNamespace(numel=lambda: 10))
    with caplog.at_level(logging.INFO):
        tell_plan(line, Told([PlannedAttack(), NOISE], [{"case": "a", "image": "gone"}], 1, 1), case)
    assert caplog.records[0].getMessage().startswith("1 case x 2 rows (1 of 2 done before), at most: 1 queries a case")
    assert caplog.records[1].getMessage() == "Kept: records, report, pictures of 1 case."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "x"), "disk full"),
        (OSError(errno.EDQUOT, "x"), "disk full"),
        (OSError(errno.EACCES, "x"), "unreadable file"),
        (EOFError(), "unreadable file"),
        (type("ImageFileError", (Exception,), {})(), "unreadable file"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (ValueError("x"), "invalid case"),
        (RuntimeError("x"), "error"),
    ],
)
def test_kinds_of_errors(error: Exception, kind: str) -> None:
    outer = RuntimeError("applying transform")
    outer.__cause__ = error
    assert (kind_of(error), kind_of(outer), cause_of(outer)) == (kind, kind, error)
    if kind == "disk full":
        with pytest.raises(DiskFullError):
            failure_of("a", outer)
    else:
        found = failure_of("a", outer)
        assert (found.case, found.kind) == ("a", kind)
        assert found.reason.startswith(type(error).__name__)


def test_a_disagreement_is_no_cases_fault() -> None:
    with pytest.raises(DisagreementError):
        failure_of("a", DisagreementError("x"))


class Linear(nn.Module):
    """Logits 0 and the sum of the voxels, plus how often it was asked, where it is told to count."""

    def __init__(self, drift: float = 0.0) -> None:
        super().__init__()
        self.drift, self.calls = drift, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        total = x.flatten(1).sum(1, keepdim=True) + self.drift * self.calls
        return torch.cat([torch.zeros_like(total), total], 1)


def test_what_a_probe_measures() -> None:
    """Of a linear margin: a gradient's step gains eps a voxel, of noise the most of eight draws."""
    image, label = torch.full((1, 1, 2, 8), 0.5), torch.tensor([0])
    mask = torch.ones_like(image, dtype=torch.bool)
    mask[..., 4:] = False
    attack = BIM(eps=0.1, loss="margin")
    case = Case("a", "a", image, label, mask)
    sound = probe(ClassificationVictim(Linear().eval()), case, attack)
    assert sound.gradient_gain == pytest.approx(0.1 * 8)
    draws_ = [Noise(eps=0.1, loss="margin", seed=seed) for seed in range(8)]
    victim = ClassificationVictim(Linear().eval())
    gains = [float(n(victim, image, label, mask=mask).loss_history[0, 0]) - 8.0 for n in draws_]
    assert sound.noise_gain == pytest.approx(max(gains))
    assert (sound.train_mode, sound.repeated) == (False, 0.0)
    counting = Linear().eval()
    probe(ClassificationVictim(counting), case, attack)
    assert counting.calls == 2 + 2 + 8  # twice the same, a step's two ends, a draw each
    drifting = probe(ClassificationVictim(Linear(drift=1.0).eval()), case, attack)
    assert drifting.repeated == pytest.approx(1 / 9)  # the sum of 8 after one call, then one more


def test_the_attack_of_the_smallest_radius_probes() -> None:
    attacks = [PGD(eps=e) for e in (0.3, 0.0, 0.1, 0.2)]
    plan = [PlannedAttack(), *(PlannedAttack(attack, 0.1) for attack in attacks)]
    assert probing_attack(plan) is attacks[2]
    assert probing_attack(plan[:1]) is None
    assert probing_attack([PlannedAttack(attacks[1], 0.0)]) is None


def test_a_seed_is_of_its_case() -> None:
    assert len({case_seed(seed, case) for seed in (0, 1) for case in ("a", "b")}) == 4
    assert case_seed([1, 2], "a") != case_seed([2, 1], "a")
    assert case_seed(3, "a") == case_seed(3, "a") == case_seed([3], "a")


def test_the_log_is_shown_once_and_then_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    level, propagate = LOGGER.level, LOGGER.propagate
    LOGGER.setLevel(logging.DEBUG)
    with console():
        assert (LOGGER.level, LOGGER.propagate) == (logging.DEBUG, False)
        with console():
            LOGGER.info("one line")
    assert (LOGGER.level, LOGGER.propagate) == (logging.DEBUG, propagate)
    LOGGER.setLevel(logging.ERROR)
    with console():
        assert LOGGER.level == logging.INFO
    LOGGER.setLevel(logging.NOTSET)
    with console():
        assert LOGGER.level == logging.INFO
    with console(False):
        assert LOGGER.level == logging.NOTSET
        LOGGER.info("none")
    LOGGER.setLevel(level)
    assert capsys.readouterr().out == "one line\n"
