"""Figures 1 and 2 of the paper: what they are drawn from, and that every number in them is that of the attack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import detectors
import pytest
import torch
from helpers import network
from monai.data import MetaTensor
from PIL import Image

from monai_smia.attacks import BIM, SMIA
from monai_smia.evaluation import AttackEvaluation, PaperFigures, paper_comparison
from monai_smia.evaluation.paper_figures import Course, compared, watched
from monai_smia.metrics import ClassificationMetrics, DetectionMetrics, SegmentationMetrics
from monai_smia.report.figures import paper
from monai_smia.report.figures.views import DetectionView, PhotographView, SegmentationView
from monai_smia.victims import ClassificationVictim, SegmentationVictim

EPS, STEPS = 0.02, 10


def lungs() -> tuple[Any, Any, torch.Tensor, Any]:
    affine = torch.diag(torch.tensor([-2.0, -2.0, 4.0, 1.0]))
    image = MetaTensor(torch.rand(1, 16, 12, 10, generator=torch.Generator().manual_seed(0)), affine=affine)
    victim = SegmentationVictim(network("segmentation", 3, classes=2, channels=1).eval())
    return victim, SegmentationMetrics(2), image, (image > 0.6).float()


def eyes() -> tuple[Any, Any, torch.Tensor, Any]:
    victim = ClassificationVictim(network("classification", 2, classes=3, channels=3).eval())
    return victim, ClassificationMetrics(3), torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)), 1


def frames() -> tuple[Any, Any, torch.Tensor, Any]:
    victim, label = detectors.small_retina().with_loss("focal"), detectors.SOMETHING
    victim.network.float()
    label = {"boxes": label["boxes"].float(), "labels": label["labels"]}
    image = detectors.images(1)[0].float()
    return victim, DetectionMetrics(["a", "b", "c"]), image, label


def figures(task: Any, folder: Path, **options: Any) -> PaperFigures:
    victim, metrics, image, label = task()
    evaluation = AttackEvaluation(
        cases=[{"case": "one", "image": "one.nii"}],
        loading=lambda item: {**item, "image": image, "label": label},
        victim=victim,
        attacks=paper_comparison(EPS, steps=STEPS, progress=False),
        metrics=metrics,
        output_dir=folder,
        progress=False,
    )
    return PaperFigures(evaluation, **{"patch": 8, **options})


@pytest.mark.parametrize(
    ("task", "view"),
    [(lungs, SegmentationView), (eyes, PhotographView), pytest.param(frames, DetectionView, marks=pytest.mark.slow)],
)
def test_both_figures_of_every_task(task: Any, view: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    for name in ("draw_figure_1", "draw_figure_2"):
        draw = getattr(paper, name)

        def remember(*given: Any, name: str = name, draw: Any = draw) -> None:
            drawn[name] = given
            if task is not frames:  # a picture of two channels is none
                draw(*given)

        monkeypatch.setattr(f"monai_smia.evaluation.paper_figures.{name}", remember)
    made = figures(task, tmp_path)
    told = made.figure_1().splitlines()
    _, seen, clean, blocks, _ = drawn["draw_figure_1"]
    assert isinstance(seen, view)
    assert [[shown.name for shown in block.shown] for block in blocks] == [["FGSM, iterated", "PGD", "SMIA"]] * 2
    image = task()[2]
    torch.testing.assert_close(torch.as_tensor(clean.image), torch.as_tensor(image), check_dtype=False)
    sizes = [[float((s.image - clean.image).abs().max()) for s in block.shown] for block in blocks]
    assert max(sizes[0]) <= EPS + 1e-6 < min(sizes[1]), "only one setting keeps to epsilon"
    assert [line.split(":")[0] for line in told[:3]] == ["one", "equal radius", "paper"]
    told = made.figure_2().splitlines()
    _, _, settings, _, _ = drawn["draw_figure_2"]
    assert "With STA Var is" in told[1]
    for courses in settings.values():
        for course in courses:
            assert list(course.perturbations) == [1, 4, 9]
            assert (len(course.variance), len(course.cosine)) == (STEPS, STEPS - 1)
            for n, eta in course.perturbations.items():
                assert float(eta.double().var(correction=0)) == pytest.approx(course.variance[n - 1], rel=1e-4)
    if task is not frames:
        for name in ("figure_1", "figure_2"):
            assert min(Image.open(tmp_path / f"{name}.png").size) > 500


def test_a_watched_attack_is_the_same_attack() -> None:
    victim, _, image, label = lungs()
    options: dict[str, Any] = {"eps": EPS, "steps": 4, "progress": False, "keep": "last"}
    for plain in (BIM(**options), SMIA(alpha=0.5, kernel_size=3, **options)):
        attack, seen = watched(plain)
        batch, truth = image[None], torch.as_tensor(label)[None]
        expected = plain(victim, batch, truth)
        assert torch.equal(attack(victim, batch, truth).adversarial, expected.adversarial)
        assert sorted(seen) == [0, 1, 2, 3]
        variances = [float((seen[n] - batch).double().var(correction=0)) for n in seen]
        assert variances == pytest.approx(expected.variance[:4, 0].tolist(), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((4.0, 3.0), "lower at the end, and does not decrease"),
        ((4.0, 5.0), "higher at the end, and does not decrease"),
        ((0.5, 0.5), "the same at the end, and decreases"),
    ],
)
def test_the_sentence_follows_the_numbers(ends: tuple[float, float], words: str) -> None:
    eta = {1: torch.zeros(1), 2: torch.zeros(1)}
    without, with_sta = (Course(name, eta, [1.0, end], [0.0]) for name, end in zip(("DEV", "STA"), ends, strict=True))
    assert words in compared(without, with_sta)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"case": "on"}, "did you mean one"),
        ({"case": 1}, "from 0 to 0, got 1"),
        ({"case": True}, "got True"),
        ({"eps": 0.03}, "eps must be one of the plan's, 0.02, got 0.03"),
        ({"patch": 2}, "patch must be a whole number of pixels >= 8, got 2"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        figures(lungs, tmp_path, **options)


def test_figure_2_needs_the_iterations_that_it_shows(tmp_path: Path) -> None:
    made = figures(lungs, tmp_path)
    made.evaluation.plan = paper_comparison(EPS, steps=8, progress=False)
    with pytest.raises(ValueError, match="steps must be at least 9, the last iteration that is shown, got 8"):
        made.figure_2()
