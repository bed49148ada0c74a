"""Ways to tamper with evidence, from a flipped byte to records, journal, page and seals that are all made anew."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_smia.records import EvaluationSpec, Summary, read_records, seal
from monai_smia.records.journal import _with_checksum
from monai_smia.records.manifest import MANIFEST_FILE, write_manifest
from monai_smia.report import make_report

Json = dict[str, Any]


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value, indent=1))


def edit_lines(path: Path, change: Callable[[Json], Any], *, keep: Callable[[Json], bool] = lambda line: True) -> None:
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    lines = [line for line in lines if keep(line)]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def nothing(value: Any) -> None:
    pass


def resealed(folder: Path) -> None:
    """All hashes made anew, as whoever changes a file can."""
    seal(folder)
    write_manifest(folder)


def remade(folder: Path) -> None:
    """The page, too."""
    make_report(folder, EvaluationSpec.read(folder), Summary.read(folder), read_records(folder))
    resealed(folder)


def edit_journal(folder: Path, change: Callable[[Json], Any], keep: Callable[[Json], bool] = lambda line: True) -> None:
    """Lines of the journal with checksums of their own, as a process writes them."""
    path = folder / "journal" / "rank0.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    whole = []
    for line in filter(keep, lines):
        line.pop("checksum")
        for record in line["records"]:
            change(record)
        whole.append(_with_checksum(json.dumps(line).encode()) + b"\n")
    path.write_bytes(b"".join(whole))


def is_bim(record: Json) -> bool:
    return record.get("attack") == "BIM" and record.get("stage") == "computed"


def safer(record: Json) -> None:
    """An attack that did less than it did."""
    if is_bim(record):
        for name in ("jaccard", "dice", "accuracy"):
            record[name] = min(1.0, record[name] + 0.1)


def everywhere(change: Callable[[Json], Any]) -> Callable[[Path], None]:
    """Records, journal, summary by its own rules, page and seals."""

    def tamper(folder: Path) -> None:
        edit_lines(folder / "records.jsonl", change)
        edit_journal(folder, change)
        resummarized(folder)
        remade(folder)

    return tamper


def resummarized(folder: Path) -> None:
    from monai_smia.analysis import summary_of
    from monai_smia.metrics import SegmentationMetrics

    before = Summary.read(folder)
    summary = summary_of(read_records(folder), SegmentationMetrics(2), cases=before.cases, unit=before.unit)
    summary.write(folder)


def then(change: Callable[[Path], Any], *after: Callable[[Path], Any]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        for step in (change, *after):
            step(folder)

    return tamper


def of(name: str, change: Callable[[Any], Any], *after: Callable[[Path], Any]) -> Callable[[Path], None]:
    return then(lambda folder: edit(folder / name, change), *after)


def of_records(change: Callable[[Json], Any], *after: Callable[[Path], Any], **keep: Any) -> Callable[[Path], None]:
    return then(lambda folder: edit_lines(folder / "records.jsonl", change, **keep), *after)


def replaced(name: str, old: str, new: str, *after: Callable[[Path], Any]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))
        for step in after:
            step(folder)

    return tamper


def flipped(pattern: str, *after: Callable[[Path], Any]) -> Callable[[Path], None]:
    return then(lambda folder: flip(first(folder, pattern)), *after)


def removed(pattern: str, *after: Callable[[Path], Any]) -> Callable[[Path], None]:
    return then(lambda folder: first(folder, pattern).unlink(), *after)


def added(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(b"more")


def swapped(folder: Path) -> None:
    """The adversarial image of one attack in the place of another's."""
    one, other = (first(folder, f"volumes/*_{name}_*_adversarial.nii.gz") for name in ("noise", "bim"))
    other.write_bytes(one.read_bytes())
    resealed(folder)


def without_case(line: Json) -> bool:
    return bool(line["case"] != "b")


def fewer_cases(summary: Json) -> None:
    summary["cases"] = summary["evaluated"] = 1


HASHES = {  # a change that no seal follows
    "a byte of the spec": flipped("spec.json"),
    "a byte of the summary": flipped("summary.json"),
    "a byte of the records": flipped("records.jsonl"),
    "a byte of the checksums": flipped("checksums.json"),
    "a byte of the table": flipped("cases.csv"),
    "a byte of the report": flipped("report.json"),
    "a byte of the page": flipped("report.html"),
    "a byte of the draft": flipped("instructions_for_use.md"),
    "a byte of a picture": flipped("figures/*.png"),
    "a byte of an adversarial image": flipped("volumes/*_adversarial.nii.gz"),
    "a byte of a perturbation": flipped("volumes/*_perturbation.nii.gz"),
    "a byte of the journal": flipped("journal/rank0.jsonl"),
    "a byte of the configuration": flipped("journal/configuration.json"),
    "no adversarial image": removed("volumes/*_adversarial.nii.gz"),
    "no picture": removed("figures/*.png"),
    "no page": removed("report.html"),
    "no journal": removed("journal/rank0.jsonl"),
    "one more image": added("volumes/c_bim_eps0.05_adversarial.nii.gz"),
    "one more picture": added("figures/c.png"),
    "an entry less": of(MANIFEST_FILE, lambda m: m["files"].pop("cases.csv") and None),
    "another hash": of(MANIFEST_FILE, lambda m: m["files"]["cases.csv"].update(sha256="0" * 64)),
}
SEALED = {  # every hash made anew
    "a metric of a record": of_records(safer, resealed),
    "a metric, and the page": of_records(safer, remade),
    "a record less": of_records(nothing, resealed, keep=lambda line: not is_bim(line)),
    "a case less": of_records(nothing, of("summary.json", fewer_cases), remade, keep=without_case),
    "a seed": of_records(lambda record: record.update(seed=1), remade),
    "hash of the weights": of_records(lambda record: record.update(weights_sha256="0" * 64), remade),
    "the headline": of("summary.json", lambda s: s["headline"]["radii"][0].update(attacked=0.9), remade),
    "a mean": of("summary.json", lambda s: s["rows"][2].update(jaccard=0.9), remade),
    "an interval of the headline": of("summary.json", lambda s: s["headline"].update(clean=0.99), remade),
    "the number of cases": of("summary.json", lambda s: s.update(cases=20), remade),
    "the flags": of("summary.json", lambda s: s.update(flags=[{"name": "x", "text": "y"}]), remade),
    "the time": of("summary.json", lambda s: s.update(seconds=1.0), remade),
    "a figure on the page": replaced("report.html", "Worst case", "Best case", resealed),
    "a figure in the table": replaced("cases.csv", "0.", "1.", resealed),
    "a limitation": of("report.json", lambda r: r.update(limitations=[]), resealed),
    "a sentence of the draft": replaced("instructions_for_use.md", "What was not tested", "All was tested", resealed),
    "a picture on the page": then(
        lambda folder: (folder / "report.html").write_text(
            (folder / "report.html").read_text().replace("base64,iVBORw0KGgo", "base64,iVBORw0KGgp", 1)
        ),
        resealed,
    ),
    "no page, sealed": removed("report.html", resealed),
    "records of nothing": then(lambda folder: (folder / "records.jsonl").write_text(""), resealed),
    "a line of the journal less": then(lambda folder: edit_journal(folder, nothing, without_case), resealed),
}
AGAIN = {  # consistent throughout: only what is computed once more tells
    "an attack that did less": everywhere(safer),
    "an image that is another's": swapped,
    "a larger radius": of("spec.json", lambda s: s["rows"][2]["parameters"].update(eps_input=700.0), remade),
    "another network": of("spec.json", lambda s: s.update(network="Safe"), remade),
    "a criterion that is met": of(
        "summary.json",
        lambda s: s.update(
            criteria=[{"criterion": "x", "of": "y", "value": 1.0, "threshold": 0.5, "met": True, "reason": "",
                       "cases": 2, "patients": 2}]
        ),
        remade,
    ),
    "a smaller perturbation": everywhere(lambda record: is_bim(record) and record.update(linf=1.0)),
    "gradients that were not taken": everywhere(lambda record: is_bim(record) and record.update(gradients=50)),
}  # fmt: skip


def rezipped(path: Path, change: Callable[[dict[str, bytes]], Any]) -> None:
    """A zip with other contents."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    change(contents)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in contents.items():
            file.writestr(name, data)
