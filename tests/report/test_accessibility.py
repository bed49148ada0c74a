"""Pages without a violation that axe-core finds, light and dark; on a phone nothing runs over the edge.

axe-core is none of the project's packages: `npm install axe-core`, and AXE is the path of its axe.min.js.
"""

from __future__ import annotations

import html
import json
import os
from pathlib import Path

import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from report.browser import title_in_browser

from monai_smia.cli import main
from monai_smia.report.figures import segmentation_figure

DARK = "--blink-settings=preferredColorScheme=0"
RUN = """<script>%s</script><script>
addEventListener("load", async () => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  const found = await axe.run(document);
  const wrong = found.violations.map(v => `${v.id}: ${v.nodes.map(n => n.target).join(" ")}`);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.title = JSON.stringify({ wrong, passed: found.passes.length, dark });
});</script></body>"""
FRAME = """<!doctype html><title>frame</title>
<iframe width="390" height="900" style="border: 0" srcdoc="%s"></iframe><script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.title = JSON.stringify({ width: page.clientWidth, over: page.scrollWidth - page.clientWidth });
});</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of two evaluations of two cases: their report, comparison and index."""
    folder = tmp_path_factory.mktemp("pages")
    shift = iter((0, 20))
    cases = [write_case(folder, f"case{i}", lambda image, label: image.__iadd__(next(shift))) for i in range(2)]
    outs = [folder / "one", folder / "other"]
    quick(cases, outs[0], figure=segmentation_figure, figures=2).run()
    quick(cases, outs[1], attacks=[*quick(cases, outs[1]).plan[:2]]).run()
    for command in ("compare", "index"):
        assert main([command, *map(str, outs), "--page", str(folder / f"{command}.html")]) == 0
    found = {command: (folder / f"{command}.html").read_text() for command in ("compare", "index")}
    return {"report": (outs[0] / "report.html").read_text(), **found}


@pytest.mark.parametrize("switches", [(), (DARK,)], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["report", "compare", "index"])
def test_axe_finds_nothing(name: str, switches: tuple[str, ...], pages: dict[str, str], tmp_path: Path) -> None:
    axe = os.environ.get("AXE", "")
    if not axe:
        pytest.skip("needs axe-core: AXE is the path of its axe.min.js")
    text = pages[name].replace("</body>", RUN % Path(axe).read_text(encoding="utf-8"))
    waits = "--virtual-time-budget=20000"
    found = json.loads(title_in_browser(tmp_path / "page.html", text, 1280, waits, *switches))
    assert found["wrong"] == []
    assert found["passed"] > 10
    assert found["dark"] == bool(switches)


@pytest.mark.parametrize("name", ["report", "compare", "index"])
def test_on_a_phone_nothing_runs_over_the_edge(name: str, pages: dict[str, str], tmp_path: Path) -> None:
    opened = pages[name].replace("<details", "<details open")
    found = json.loads(title_in_browser(tmp_path / "page.html", FRAME % html.escape(opened), 1280, "--hide-scrollbars"))
    assert found == {"width": 390, "over": 0}
