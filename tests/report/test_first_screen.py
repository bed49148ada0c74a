"""What a reader sees first, at 1280 x 900: headline, legend and pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from report.browser import title_in_browser

from monai_smia.attacks import BIM
from monai_smia.evaluation import PlannedAttack
from monai_smia.records import RowKey, read_records
from monai_smia.report import write_report
from monai_smia.report.figures.panel import Panel
from monai_smia.report.figures.selector import slices_path
from monai_smia.report.figures.slices import write_slices

ROW = RowKey("BIM", "equal radius", eps=0.05, eps_input=70.0, unit="HU", norm="linf")
PLACES = """<script>
addEventListener("load", () => {
  const ends = name => [...document.querySelectorAll(name)].map(e => Math.round(e.getBoundingClientRect().bottom));
  const shapes = [...document.querySelectorAll(".stack")].map(e => {
    const box = e.getBoundingClientRect();
    return box.width / box.height / Number(getComputedStyle(e).getPropertyValue("--aspect"));
  });
  document.title = JSON.stringify({ends: ends(".figure, .legend, .shown"), shapes});
});</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of three cases, all with slices."""
    folder = tmp_path_factory.mktemp("page")
    shift = iter((0, 20, 40))
    cases = [write_case(folder, f"case{i}", lambda image, label: image.__iadd__(next(shift))) for i in range(3)]
    attack = BIM(eps=70.0, clip=(-1024.0, 3071.0), steps=2, progress=False)
    quick(cases, folder / "out", attacks=[PlannedAttack(), PlannedAttack(attack, 0.05, "equal radius")]).run()
    image = torch.linspace(-1000, 400, 8 * 8 * 4).reshape(1, 8, 8, 4)
    attacked = Panel(ROW, image + 70, torch.zeros(1, 8, 8, 4, dtype=torch.long))
    for record in read_records(folder / "out"):
        path = slices_path(folder / "out" / "figures", record.case, record.row.slug)
        write_slices(path, image, (image > 0).long(), (image > 0).long(), attacked, "HU")
    write_report(folder / "out")
    return (folder / "out" / "report.html").read_text()


@pytest.mark.parametrize("aspect", [None, 0.4, 2.5])
def test_headline_legend_and_two_cases(page: str, tmp_path: Path, aspect: float | None) -> None:
    assert page.count('<figure class="shown half"') == 2
    text = page.replace("</body>", PLACES)
    if aspect is not None:  # as of slices of another shape
        text = re.sub(r"--aspect: [\d.]+", f"--aspect: {aspect}", text).replace("stack.style.setProperty", "Object")
    found = json.loads(title_in_browser(tmp_path / "page.html", text, 1280))
    assert len(found["ends"]) == 4
    assert found["ends"] == sorted(found["ends"])
    assert found["ends"][-1] <= 900
    assert found["shapes"] == pytest.approx([1.0] * 8, rel=0.02)  # nothing is distorted
