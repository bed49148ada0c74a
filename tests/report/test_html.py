"""The report: valid JSON, accessible HTML, a page that a real browser shows, and thousands of records in seconds."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from report.browser import title_in_browser

from monai_smia.attacks import BIM, PGD, SMIA, Noise
from monai_smia.evaluation import PlannedAttack
from monai_smia.evaluation.errors import FailedCasesError
from monai_smia.records import DamagedRecordsError, RecordVersionError
from monai_smia.records.rows import ALPHA
from monai_smia.report import write_report
from monai_smia.report.content import SCHEMA
from monai_smia.report.figures import segmentation_figure
from monai_smia.report.html import PANELS
from monai_smia.report.table import cell

BUNDLE = Path(__file__).parents[2] / "bundles" / "ct_lung_segmentation"


def plan() -> list[PlannedAttack]:
    rows = [PlannedAttack()]
    for eps, radius in ((0.025, 35.0), (0.05, 70.0)):
        options: dict[str, Any] = {"eps": radius, "clip": (-1024.0, 3071.0), "progress": False}
        for attack in (Noise(**options), BIM(steps=3, **options), PGD(steps=3, **options), SMIA(steps=3, **options)):
            rows.append(PlannedAttack(attack, eps, "equal radius"))
        half = SMIA(steps=3, alpha=0.5, **options)
        rows.append(PlannedAttack(half, eps, ALPHA))
    return rows


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases, one of which cannot be evaluated, two of one patient."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)

    def vary(image: np.ndarray, label: np.ndarray) -> None:
        image += rng.integers(-40, 60)

    cases: list[Any] = [write_case(folder, f"case{i}", vary) for i in range(4)]
    cases = [{**case, "patient": f"p{i // 2}", "strata": {"scanner": "AAB-"[i]}} for i, case in enumerate(cases)]
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), cases[3]["label"])
    about: dict[str, Any] = {
        "metadata": BUNDLE / "configs" / "metadata.json",
        "acceptance": "jaccard >= 0.5 at 35 HU; risk file R-7",
    }
    about |= {name: f"the {name}" for name in STATED}
    with pytest.raises(FailedCasesError):
        quick(cases, folder / "out", attacks=plan(), figure=segmentation_figure, figures=1, about=about).run()
    return folder / "out"


class Page(HTMLParser):
    """Headings, images, tables and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_json_is_what_its_schema_says(report: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    content = json.loads((report / "report.json").read_text())
    validator.validate(content)
    for broken in ({"format": "other"}, {"data": {}}, {"flags": [{"name": 1}]}):
        assert not validator.is_valid({**content, **broken})


def test_what_it_says(report: Path) -> None:
    content = json.loads((report / "report.json").read_text())
    assert content["model"]["name"] == json.loads((BUNDLE / "configs" / "metadata.json").read_text())["name"]
    assert (content["data"]["cases"], content["data"]["evaluated"], content["data"]["patients"]) == (4, 3, 2)
    assert [(e["case"], e["kind"]) for e in content["data"]["excluded"]] == [("case3", "invalid case")]
    jaccard = {(r["attack"], r["setting"], r["eps"], r["stage"]): r["jaccard"] for r in content["rows"]}
    for worst in content["worst_case"]:
        fair = [v for (_, _, eps, stage), v in jaccard.items() if (eps, stage) == (worst["eps"], "computed")]
        assert worst["mean"] <= min(fair) + 1e-12
        broken = worst["cases"] - worst["unbroken"] - worst["wrong_when_clean"]
        assert sum(worst["won"].values()) >= broken > 0  # a tie counts for all
        assert (worst["cases"], worst["patients"], len(worst["listed"])) == (3, 2, 2)
    page = (report / "report.html").read_text()
    for worst in content["worst_case"]:
        radius = f"at radius {worst['eps_input']:g} HU (eps {worst['eps']:g}) "
        assert re.search(rf"{re.escape(radius)}0.\d+ under noise, {re.escape(cell(worst['mean']))}", page)
    against_clean = next(d for d in content["differences"] if d["minus"] == "Clean" and d["row"].startswith("BIM"))
    expected = jaccard["BIM", "equal radius", 0.025, "computed"] - jaccard["Clean", "", None, "computed"]
    assert against_clean["difference"] == pytest.approx(expected)
    assert all(k["largest_change"] <= k["eps_input"] + 1e-3 for k in content["constraint"])
    bound = {k["row"]: k["at_bound"] for k in content["constraint"] if k["stage"] == "computed"}
    assert bound["Noise, equal radius, eps 0.05"] > 0.95  # random signs; what leaves the valid range stays behind
    assert {s["row"] for s in content["survival"]} == {c["row"] for c in content["constraint"]}
    every = {case["case"]: case for case in content["cases"]}
    assert np.mean([case["worst"] for case in every.values()]) == pytest.approx(content["worst_case"][0]["mean"])
    assert all(case["difference"] == pytest.approx(case["worst"] - case["clean"]) for case in every.values())
    added = [case["added_damage"] for case in content["cases"]]
    assert added == sorted(added, reverse=True)
    assert all(bool(case["by"]) is (case["added_damage"] > 0) for case in every.values())
    strata = {(s["name"], s["value"]): s for s in content["data"]["strata"]}
    assert strata.keys() == {("scanner", "A"), ("scanner", "B")}  # all are of one spacing
    of_a = [every[case]["worst"] for case in ("case0", "case1")]
    assert strata["scanner", "A"]["worst"] == pytest.approx(np.mean(of_a))
    attacks = {(a["row"], a["steps"], a["step_size"], a["random_start"], a["alpha"]) for a in content["attacks"]}
    assert ("PGD, equal radius, eps 0.05", 3, pytest.approx(2.5 * 70 / 3), True, None) in list(attacks)
    assert ("SMIA, alpha 0.5, eps 0.025", 3, pytest.approx(2.5 * 35 / 3), False, 0.5) in list(attacks)
    assert content["reproduce"]["processes"] == 1
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", content["reproduce"]["commit"] or 40 * "0")  # None without git
    assert content["reproduce"]["command"].startswith("python ")
    costs = {(c["attack"], c["eps"], c["setting"]): c for c in content["costs"]}
    assert costs["BIM", 0.05, "equal radius"]["gradients"] == 3
    assert costs["BIM", 0.05, "equal radius"]["most_gradients_of_setting"] == 5


def test_accessible(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = Page(text)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    images = page.all("img")
    assert len(images) >= 6
    assert all((image["src"] or "").startswith("data:") for image in images)
    described = [image for image in images if image["alt"] or image.get("data-layer") in (None, *LOWEST)]
    assert len(described) >= 6  # overlays are of the picture that they lie on
    assert all(len(image["alt"] or "") > 20 for image in described)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    anchors = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    links = {link["href"] or "" for link in page.all("a")}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    files = {link for link in links if not link.startswith("#")}
    assert {"cases.csv", "report.json"} <= files
    assert all((report / file).exists() for file in files)
    schemes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", found)) for found in re.findall(":root {(.*?)}", text)]
    assert len(schemes) == 2  # light and dark
    for colors in schemes:
        page_color = colors["page"] if len(colors["page"]) == 7 else "#ffffff"
        for ink, ground in (("ink", page_color), ("soft", page_color), ("soft", colors["tint"]), ("link", page_color)):
            assert contrast(colors[ink], ground) >= 4.5, ink
        assert contrast(colors["ink"], colors["warn-tint"]) >= 4.5
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)  # opens without a network


def contrast(first: str, second: str) -> float:
    """Contrast ratio of the WCAG."""

    def luminance(color: str) -> float:
        parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_what_is_missing_is_said(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "Over the number of iterations (an attack with several numbers of iterations)" in page
    titles = re.findall("<h3>(.*)</h3>", page)
    assert {"Over the radius", "Over alpha", "Variance of the perturbation over the iterations"} <= set(titles)
    assert "Over the number of iterations" not in titles


def test_what_its_reader_alone_knows_stands_in_the_page(report: Path) -> None:
    page, content = (report / "report.html").read_text(), json.loads((report / "report.json").read_text())
    assert all(f"<dd>the {name}</dd>" in page and content[name] == f"the {name}" for name in STATED)


def test_what_a_report_has_no_place_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 'hazzard'; did you mean hazard"):
        quick([write_case(tmp_path, "a")], tmp_path / "out", about={"hazzard": "H-12"})


def test_every_metric_is_explained_once(report: Path) -> None:
    page = (report / "report.html").read_text()
    terms = re.findall("<dt>([a-z0-9_]+)</dt>", page)
    assert len(terms) == len(set(terms))
    assert {"jaccard", "dice", "hd95", "linf", "var", "cos", "ssim"} <= set(terms)


def test_names_from_files_are_escaped(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    bad = {**write_case(tmp_path, "b"), "case": "<script>alert(1)<script>"}
    Path(bad["image"]).write_bytes(b"")
    with pytest.raises(FailedCasesError):
        quick([case, bad], tmp_path / "out").run()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


def test_the_report_of_a_finished_folder_is_made_anew(report: Path, tmp_path: Path) -> None:
    """From its files alone, and the same but for the moment."""
    folder = tmp_path / "moved"
    shutil.copytree(report, folder)
    for name in ("report.html", "report.json", "cases.csv"):
        (folder / name).unlink()
    made = write_report(folder)
    assert made.path == folder / "report.html"
    assert (folder / "cases.csv").read_bytes() == (report / "cases.csv").read_bytes()
    before, after = (json.loads((place / "report.json").read_text()) for place in (report, folder))
    assert {**before, "made": None} == {**after, "made": None}
    pages = [(place / "report.html").read_text() for place in (report, folder)]
    assert pages[0].replace(before["made"], "") == pages[1].replace(after["made"], "")
    assert made.headline in pages[1]


@pytest.mark.parametrize("name", ["records.jsonl", "summary.json", "spec.json"])
def test_no_report_is_made_of_a_damaged_file(report: Path, tmp_path: Path, name: str) -> None:
    """One digit is another one: the file can still be read."""
    folder = tmp_path / "damaged"
    shutil.copytree(report, folder)
    text = (folder / name).read_text()
    found = re.search(r"0\.\d", text)
    assert found is not None
    place = found.end() - 1
    (folder / name).write_text(text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :])
    before = (folder / "report.html").read_bytes()
    with pytest.raises(DamagedRecordsError, match=f"^{re.escape(name)} of .* is not what the evaluation wrote"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordVersionError, match=r"holds no spec\.json"):
        write_report(tmp_path)


STATED = ("asset", "hazard", "requirement", "residual_risk", "intended_use")
LOWEST = [layers[0] for _, layers in PANELS]
CHECK = """<script>
addEventListener("load", () => {
  const broken = [...document.images].filter(i => !i.naturalWidth).length;
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.title = `images ${document.images.length} broken ${broken} overflow ${wide}`;
});</script></body>"""


@pytest.mark.parametrize("width", [1280, 500])  # Chromium's windows are no narrower than 500
def test_in_a_real_browser(report: Path, tmp_path: Path, width: int) -> None:
    text = (report / "report.html").read_text().replace("</body>", CHECK)
    title = title_in_browser(tmp_path / "page.html", text, width)
    found = re.fullmatch(r"images (\d+) broken (\d+) overflow (\d+)", title)
    assert found is not None, title
    assert int(found[1]) >= 6
    assert (found[2], found[3]) == ("0", "0")
