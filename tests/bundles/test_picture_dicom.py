"""The fundus and endoscopy bundles take DICOM: their rows are those of the same pictures as PNG."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from bundles.shipped import ENDOSCOPY, FUNDUS, Shipped
from dicom_picture_files import ES, JPEG, OP, VIDEO, picture, save_picture
from PIL import Image

from monai_smia.dicom import read_dicom_picture
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.targets.dicom_pictures import listed_pictures
from monai_smia.targets.endoscopy import endoscopy_datalist, write_polyp_frames
from monai_smia.targets.fundus import fundus_datalist, write_fundus_phantoms

QUICK: dict[str, Any] = {"gradients": 2, "write_volumes": "all", "eps": 4 / 255}
FOLDERS = {FUNDUS: "photographs", ENDOSCOPY: "volumes"}


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two eyes: a JPEG of one frame, and the second frame of two."""
    folder = tmp_path_factory.mktemp("eyes")
    items = fundus_datalist(write_fundus_phantoms(folder / "png", 1, grades=[0, 3], size=96, seed=77))
    healthy, sick = (np.array(Image.open(item["image"])) for item in items)
    save_picture(picture(healthy, OP, look="YBR_FULL_422", syntax=JPEG), folder / "dicom" / "JOHN_DOE.dcm")
    save_picture(picture([healthy, sick], OP, PatientID="SECRET-2"), folder / "dicom" / "b.dcm")
    (folder / "dicom" / "labels.csv").write_text("file,frame,dr_grade,split\nJOHN_DOE.dcm,,0,test\nb.dcm,2,3,test\n")
    return folder / "dicom"


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame of 1 : 2 and two of a video, with boxes."""
    folder = tmp_path_factory.mktemp("frames")
    made = write_polyp_frames(folder / "png", 3, size=(128, 96))
    items = endoscopy_datalist(made, classes=["polyp"])
    first, *rest = (np.array(Image.open(item["image"])) for item in items)
    large = first.repeat(2, 0).repeat(2, 1)
    save_picture(picture(large, ES, look="YBR_FULL_422", syntax=JPEG), folder / "dicom" / "JOHN_DOE.dcm")
    save_picture(picture(rest, VIDEO), folder / "dicom" / "v.dcm")
    lines = ["file,frame,class,x1,y1,x2,y2"]
    for item, (name, frame, scale) in zip(
        items, [("JOHN_DOE.dcm", "", 2), ("v.dcm", 1, 1), ("v.dcm", 2, 1)], strict=True
    ):
        for box in item["label"]["boxes"]:
            corners = ",".join(f"{scale * v:.3f}" for v in box)
            lines.append(f"{name},{frame},polyp,{corners}")
    (folder / "dicom" / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "dicom"


def run_of(bundle: Shipped, dataset_dir: Path, output_dir: Path, **options: Any) -> Any:
    """The rows of an evaluation of few attacks, and the evaluation."""
    named = {"split": "all", "dataset_dir": str(dataset_dir), "output_dir": str(output_dir), **QUICK, **options}
    if bundle is ENDOSCOPY:
        named["frame_size"] = [128, 96]
    parser = bundle.parser("attack_eval", **named)
    for part in ("initialize", "evaluation"):
        content = parser.get_parsed_content(part)
    content.progress, content.figure, content.num_probed_cases = False, None, 0
    kept = [row for row in content.attacks if row.name in ("Clean", "Noise", "APGD")]
    content.attacks = kept[:3]
    rows = {(r["attack"], r["setting"], r["loss"], r["stage"]): r for r in content.run()["rows"]}
    return rows, content


def as_png(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The same pixels as files, under the same names, by which draws are seeded."""
    folder.mkdir()
    items = []
    for case in cases:
        Image.fromarray(read_dicom_picture(case["image"], case.get("frame")).pixels).save(
            folder / f"{case['case']}.png"
        )
        known = {name: value for name, value in case.items() if name != "frame"}
        items.append({**known, "image": str(folder / f"{case['case']}.png")})
    return items


@pytest.mark.parametrize("bundle", [FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
def test_its_rows_are_those_of_the_same_pictures_as_png(
    bundle: Shipped, eyes: Path, frames: Path, tmp_path: Path
) -> None:
    place = eyes if bundle is FUNDUS else frames
    dicom, evaluation = run_of(bundle, place, tmp_path / "dicom")
    items = as_png(list(evaluation.cases), tmp_path / "png")
    name = "datalist" if bundle is FUNDUS else "cases"
    png, _ = run_of(bundle, place, tmp_path / "out", **{name: items})
    assert dicom.keys() == png.keys()
    assert {stage for *_, stage in dicom} == {"computed", "stored"}
    for key, row in png.items():
        for column, value in row.items():
            if column not in ("seconds", "patients", "listed"):
                same = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
                assert dicom[key][column] == same, (key, column)
    sources = {case["case"]: case for case in evaluation.cases}
    written = sorted((tmp_path / "dicom" / FOLDERS[bundle]).glob("*.dcm"))
    assert len(written) == 2 * len(sources)
    for file in written:
        twin = np.asarray(Image.open(tmp_path / "out" / FOLDERS[bundle] / f"{file.stem}.png"))
        assert np.array_equal(read_dicom_picture(file).pixels, twin)  # stored integers
        case = next(case for name, case in sources.items() if file.name.startswith(name))
        before = read_dicom_picture(case["image"], case.get("frame")).pixels.astype(int)
        assert 0 < np.abs(before - twin).max() <= 4
        ds = pydicom.dcmread(file)
        assert ds.SeriesDescription.startswith("ADVERSARIAL")
        assert (ds.PhotometricInterpretation, ds.get("NumberOfFrames", 1)) == ("RGB", 1)
    assert {pydicom.dcmread(file).LossyImageCompression for file in written} == {"00", "01"}
    for file in (tmp_path / "dicom").rglob("*.*"):
        if file.suffix in (".json", ".jsonl", ".html", ".csv"):
            assert not any(word in file.read_text() for word in ("JOHN_DOE", "SECRET")), file


@pytest.mark.parametrize("bundle", [FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
def test_without_a_table_the_clean_decision_is_the_reference_and_the_page_says_so(
    bundle: Shipped, eyes: Path, frames: Path, tmp_path: Path
) -> None:
    place = eyes if bundle is FUNDUS else frames
    (tmp_path / "one").mkdir()
    for file in place.glob("*.dcm"):
        (tmp_path / "one" / file.name).write_bytes(file.read_bytes())
    rows, evaluation = run_of(bundle, tmp_path / "one", tmp_path / "out", split="test")
    assert [case.get("frame") for case in evaluation.cases] == ([None, 1, 2] if bundle is FUNDUS else [None] * 3)
    assert UNSUPERVISED in (tmp_path / "out" / "report.html").read_text()
    assert UNSUPERVISED in json.loads((tmp_path / "out" / "spec.json").read_text())["about"]["limitations"]
    metric = "accuracy" if bundle is FUNDUS else "map50"
    assert rows["Clean", "", None, "computed"][metric] == 1.0
    assert min(row[metric] for row in rows.values()) < 1
    patients = {case["patient"] for case in evaluation.cases}
    assert len(patients) == (2 if bundle is FUNDUS else 1)  # by what the headers say, which nobody is told


def test_inference(eyes: Path, frames: Path, tmp_path: Path) -> None:
    FUNDUS.workflow("inference", output_dir=str(tmp_path / "eyes"), dataset_dir=str(eyes)).run()
    with (tmp_path / "eyes" / "grades.csv").open() as file:
        rows = {Path(name).name: float(grade) for name, grade in csv.reader(file)}
    assert rows.keys() == {"JOHN_DOE.dcm", "b.dcm#frame1", "b.dcm#frame2"}  # beside one's own data, called as they are
    assert set(rows.values()) <= set(range(5))
    ENDOSCOPY.workflow("inference", output_dir=str(tmp_path / "frames"), dataset_dir=str(frames)).run()
    found = {file.stem for file in (tmp_path / "frames").glob("*.json")}
    assert found == {"JOHN_DOE", "v_frame0001", "v_frame0002"}


def test_a_scaled_frame_is_a_marked_copy(frames: Path, tmp_path: Path) -> None:
    _, evaluation = run_of(ENDOSCOPY, frames, tmp_path)
    scaled = [pydicom.dcmread(case["image"]) for case in evaluation.cases]
    assert {(ds.Rows, ds.Columns) for ds in scaled} == {(96, 128)}
    assert all(ds.SeriesDescription.startswith("SCALED COPY") for ds in scaled)
    assert [ds.SourceImageSequence[0].get("ReferencedFrameNumber") for ds in scaled] == [None, 1, 2]
    assert {case.get("patient") for case in evaluation.cases} == {p.patient for p in listed_pictures(frames)}


TABLE = "file,frame,dr_grade\n"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("b.dcm,,3", r"row 1 of labels.csv: b.dcm has 2 frames; name one in a column frame, from 1 on"),
        ("b.dcm,3,3", "row 1 of labels.csv: frame must be a number from 1 to 2, of b.dcm, got '3'"),
        ("b.dcm,x,3", "got 'x'"),
        ("b.dcm,1,3\nb.dcm,1,2", "names images more than once"),
        ("a.png,1,3", "row 1 of labels.csv names frame 1 of a.png, which is no DICOM"),
        ("gone.dcm,,3", "names images that do not exist"),
    ],
)
def test_rows_of_a_table_that_cannot_be(rows: str, said: str, eyes: Path, tmp_path: Path) -> None:
    (tmp_path / "b.dcm").write_bytes((eyes / "b.dcm").read_bytes())
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(f"{TABLE}{rows}\n")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        fundus_datalist(tmp_path)


def test_a_folder_without_colors_says_so_and_other_images_are_left_out_aloud(
    eyes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grey = pydicom.dcmread(eyes / "JOHN_DOE.dcm")
    grey.PhotometricInterpretation, grey.SamplesPerPixel = "MONOCHROME2", 1
    save_picture(grey, tmp_path / "grey.dcm")
    for list_of in (fundus_datalist, lambda path: endoscopy_datalist(path, classes=["polyp"])):
        with pytest.raises(
            ValueError, match=r"holds no color picture of DICOM: grey.dcm is greyscale \(MONOCHROME2, OP"
        ):
            list_of(tmp_path)
    (tmp_path / "b.dcm").write_bytes((eyes / "b.dcm").read_bytes())
    assert len(fundus_datalist(tmp_path)) == 2
    assert "1 of 2 images are left out; the first: grey.dcm is greyscale" in caplog.text
    with pytest.raises(ValueError, match=r"has no grades, which are needed here: list its files in labels\.csv"):
        fundus_datalist(tmp_path, need_all_grades=True)
    for bundle, what in ((FUNDUS, "grades"), (ENDOSCOPY, "boxes")):
        parser = bundle.parser("evaluate", dataset_dir=str(tmp_path), output_dir=str(tmp_path / "out"))
        with pytest.raises(RuntimeError) as caught:
            parser.get_parsed_content("datalist")
        assert f"has no {what}, which are needed here: list its files in labels.csv." in str(caught.value.__cause__)


def test_one_file_is_a_dataset_and_two_of_one_name_are_none(eyes: Path, tmp_path: Path) -> None:
    from monai_smia.targets.dicom_pictures import picture_items

    assert [item["frame"] for item in fundus_datalist(eyes / "b.dcm", split="test")] == [1, 2]
    (tmp_path / "a.dcm").write_bytes((eyes / "JOHN_DOE.dcm").read_bytes())
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png and a.dcm are both the case 'a': rename one of them"):
        picture_items(tmp_path, [".png"])
