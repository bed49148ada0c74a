"""A page of ten cases stays below 8 MB, whatever its pictures are; what finds no room is linked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from PIL import Image

from monai_smia.attacks import BIM, PGD, SMIA, Noise
from monai_smia.evaluation import PlannedAttack
from monai_smia.records import RowKey, read_records
from monai_smia.report import write_report
from monai_smia.report.figures.panel import Panel
from monai_smia.report.figures.selector import slices_path
from monai_smia.report.figures.slices import write_slices

CASES = 10


def noise(path: Path, *_: Any, **__: Any) -> None:
    """A drawing that nothing can compress: half a megabyte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(str(path))).integers(0, 255, (330, 500, 3), np.uint8)
    Image.fromarray(values).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("size")
    shift = iter(range(0, 10 * CASES, 10))
    cases = [write_case(root, f"case{i}", lambda image, label: image.__iadd__(next(shift))) for i in range(CASES)]
    plan = [PlannedAttack()]
    for eps, radius in ((0.02, 28.0), (0.05, 70.0)):
        options: dict[str, Any] = {"eps": radius, "clip": (-1024.0, 3071.0), "progress": False}
        attacks = [Noise(**options), *(attack(steps=2, **options) for attack in (BIM, PGD, SMIA))]
        plan += [PlannedAttack(attack, eps, "equal radius") for attack in attacks]
    out = root / "out"
    quick(cases, out, attacks=plan, figure=noise).run()
    row = RowKey("BIM", "equal radius", eps=0.05, eps_input=70.0, unit="HU", norm="linf")
    torch.manual_seed(0)  # slices of noise, of as many pixels as the page has
    image = torch.rand(1, 200, 200, 40) * 1400 - 1000
    decision = [torch.randint(0, 2, (1, 200, 200, 40)) for _ in range(3)]
    (out / "figures").mkdir(exist_ok=True)
    write_slices(out / "once.json", image, decision[0], decision[1], Panel(row, image + 70, decision[2]), "HU")
    text = (out / "once.json").read_text()
    (out / "once.json").unlink()
    for record in read_records(out):
        if not record.row.is_clean:
            slices_path(out / "figures", record.case, record.row.slug).write_text(text)
    return out


def test_ten_cases(folder: Path) -> None:
    page = write_report(folder).path
    text = page.read_text()
    assert 4_000_000 < page.stat().st_size < 8_000_000
    links = re.findall(r'<p>((?:worst|best) case): [^<]*<a href="(figures/[^"]+\.png)">', text)
    inside = re.findall(r"<figcaption>((?:worst|best) case)", text)
    assert links
    assert all((folder / link).is_file() for _, link in links)
    assert len(inside) + len(links) == 2 * 8  # of every attack the worst and the best
    if "best case" in inside:  # the worst go first
        assert "worst case" not in {end for end, _ in links}


def test_with_small_pictures_nothing_is_linked(folder: Path) -> None:
    for picture in (folder / "figures").glob("*.png"):
        Image.new("RGB", (8, 8)).save(picture)
    text = write_report(folder).path.read_text()
    assert "beside this page, which would be too large" not in text
    assert len(re.findall(r"<figcaption>(?:worst|best) case", text)) == 2 * 8
