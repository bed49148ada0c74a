"""Every command of the documents runs as it stands there, and every override that they name arrives.

Commands go through the very entry of ``python -m monai.bundle``, in this process. What makes them short is added behind
them: small pictures and volumes, few steps.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import monai
import nibabel as nib
import numpy as np
import pytest
from bundles.shipped import BUNDLES
from bundles.shortened import CT, ENDOSCOPY, FUNDUS, shorter

from bundles import landmarks, published, vista, zoo
from monai_smia.adapters import OVERLAY
from monai_smia.command_line import NOT_MET, check_arguments

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *BUNDLES.glob("*/docs/README.md")])
SCHEMA = Path(__file__).parent / "bundles" / "meta_schema_20240725.json"
ENTRY = Path(monai.__file__).parent / "bundle" / "__main__.py"
DATA = {  # what stands for a folder, and the tree that is put there
    "ct": published.ct,
    "covid19_ct": published.covid19_ct,
    "fundus": published.fundus,
    "photographs": published.photographs,
    "pictures": published.pictures,
    "aptos": published.aptos,
    "kaggle_dr": published.kaggle_dr,
    "many_eyes": published.many_eyes,
    "endoscopy": published.endoscopy,
    "ead2019": published.ead2019,
    "dicom_eyes": published.dicom_eyes,
    "dicom_frames": published.dicom_frames,
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> Iterator[str]:
    """The commands of a page, lines joined, or of a config's first comments; options alone follow the first command."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".yaml":
        shown = ["\n".join(re.findall(r"^# +(?:From the folder of the bundle: )?(python .*)$", text, re.MULTILINE))]
    else:
        shown = [block for language, block in FENCE.findall(text) if not language]
    first = ""
    for block in shown:
        for line in block.replace("\\\n", " ").splitlines():
            line = f"{first} {line.lstrip()}" if line.startswith("  --") else line
            if "-m monai.bundle" in line and not re.match(r"\s*(torchrun|srun|#)", line):
                command = " ".join(re.split(r" {2,}#", line)[0].split())
                first = first or command
                yield command


def commands() -> list[tuple[str, str]]:
    """Where each stands first, and the command."""
    found: dict[tuple[str, str], str] = {}
    for page in [*PAGES, *sorted(BUNDLES.glob("*/configs/*.yaml"))]:
        where = page.relative_to(ROOT).as_posix()
        for command in blocks(page):
            command = command.replace("<frames>", "<endoscopy>").replace("<polyps>", "<endoscopy>")
            found.setdefault((where.split("/")[1] if "bundles/" in where else "", command), where)
    return [(where, command) for (_, command), where in found.items()]


COMMANDS = commands()


def test_the_documents_hold_commands() -> None:
    assert len(COMMANDS) >= 35
    for name in (CT, FUNDUS, ENDOSCOPY):
        runs = {command.split("bundle ")[1].split(" --")[0] for page, command in COMMANDS if name in page}
        assert {"run train", "run evaluate", "run", "run attack_eval", "verify_net_in_out", "ckpt_export"} <= runs, name


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The data, each made once."""
    made: dict[str, Path] = {"eyes": published.healthy_eyes(tmp_path_factory.mktemp("eyes"))}
    for make in dict.fromkeys([*DATA.values(), published.six_ct]):
        made[make.__name__] = make(tmp_path_factory.mktemp(make.__name__))
    return made


# Overrides that a page names in its text, with the values that it gives them.
NAMED = [
    (CT, "evaluate --dataset_dir <ct> --split train --largest_label_part True"),
    (CT, "evaluate --dataset_dir <covid19_ct> --split all"),
    (CT, "evaluate --dataset_dir <covid19_ct> --held_out 0.2 --split_seed 1 --preprocess#pixdim [9,9,9]"),
    (
        CT,
        "train+train_robust+train_robust_shifts --dataset_dir <ct> --shift_severity 2 --shift_steps 1 --ckpt_dir there",
    ),
    (CT, "train+train_robust --dataset_dir <ct> --attack_eps 0.02 --attack_every 2 --attack_steps 1 --ckpt_dir there"),
    (CT, "train+train_free --dataset_dir <ct> --attack_replays 2 --ckpt_dir there"),
    (CT, "attack_eval --dataset_dir <ct> --preset radius --eps [0.01,0.02,0.05] --output_dir there"),
    (
        CT,
        "attack_eval --dataset_dir <ct> --space network --identified True --evaluation::resume False "
        "--evaluation::tolerance 0.01",
    ),
    (FUNDUS, "train --dataset_dir <many_eyes> --fold 0 --validation_interval 1"),
    (
        FUNDUS,
        "train+train_robust --dataset_dir <fundus> --attack_eps 0.001 --attack_every 1 --learning_rate 0.0005 "
        "--max_epochs 2 --mixed_precision True --ckpt_dir there",
    ),
    (FUNDUS, "train+efficient --dataset_dir <fundus> --warm_start '$None' --ckpt_dir there"),
    (FUNDUS, "attack_eval --dataset_dir <dicom_eyes> --identified True --eps 0.02"),
    (ENDOSCOPY, "attack_eval --dataset_dir <dicom_frames> --identified True --eps 0.02"),
    (FUNDUS, "attack_eval --dataset_dir <aptos> --split all --max_cases 1 --preset paper --steps 3 --stop_at never"),
    (ENDOSCOPY, "attack_eval+artefacts --frames_dir <endoscopy> --preset paper --loss ranking"),
    (
        ENDOSCOPY,
        "train+artefacts+train_artefacts --frames_dir <endoscopy> --feature_extractor#booster False --weights there.pt "
        "--autocast '$None'",
    ),
    (ENDOSCOPY, "train --dataset_dir <endoscopy> --initial_weights '$None' --weights there.pt"),
    (ENDOSCOPY, "train --dataset_dir <endoscopy> --artefact_prob 0.5 --initial_weights '$None' --weights there.pt"),
    (ENDOSCOPY, "train+train_robust --dataset_dir <endoscopy> --attack_start 0.001 --attack_steps 3"),
    (ENDOSCOPY, "attack_eval+polyps --dataset_dir <endoscopy>"),  # deprecated
]
LABELS = "--attack#evaluator @validate#evaluator --attack#postprocessing @validate#postprocessing"  # of the zoo's pages
ELSEWHERE = {  # of other programs, or typed in another test
    "--max-restarts": "torchrun",
    "--tracking": "tests/evaluation/test_tracking.py",
    "--device": "tests/bundles/foreign/test_arguments.py",
}


def named(bundle: str, words: str) -> tuple[str, str]:
    """The command of an entry of `NAMED`, and the page that it is typed for."""
    configs, rest = words.split(" ", 1)
    files = "".join(f"'configs/{name}.yaml'," for name in configs.split("+"))
    run = configs.split("+")[0]
    command = f'python -m monai.bundle run {run} --config_file "[{files}]" --bundle_root . {rest}'
    return f"bundles/{bundle}/docs/README.md", command


TYPED = [*COMMANDS, *(named(*each) for each in NAMED)]


def name_of(page: str, command: str) -> str:
    """What a test is called by: the bundle, and what is typed without its signs."""
    where = page.split("/")[1].split("_")[0] if page.startswith("bundles/") else page.split("/")[-1].split(".")[0]
    return f"{where} " + re.sub(r"\W+", " ", command.split("monai.bundle ")[1].replace("bundle_root", ""))


EVERY = pytest.mark.parametrize(("page", "command"), TYPED, ids=[name_of(*each) for each in TYPED])


def test_every_override_that_a_bundle_names_is_typed() -> None:
    typed_names = {word for _, command in TYPED for word in command.split()}
    for page in BUNDLES.glob("*/docs/README.md"):
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        text = re.sub(r"<!-- results: .*?<!-- end -->", "", text, flags=re.DOTALL)
        spans = [span for span in re.findall(r"`([^`\n]*)`", text) if "benchmarks/" not in span]
        names = {name for span in spans for name in re.findall(r"--[\w#:-]+", span)}
        assert names
        assert names - typed_names - ELSEWHERE.keys() == set(), page


@EVERY
def test_no_command_is_refused_for_what_it_names(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = typed(command, {make.__name__: Path("data") for make in DATA.values()})
    bundle = place(page, command)
    if words[0] == "run" and bundle != "zoo":
        monkeypatch.chdir(ROOT if f"bundles/{bundle}" in command else BUNDLES / bundle)
        check_arguments([str(ENTRY), *words])


@pytest.mark.slow
@EVERY
def test_a_command(
    page: str, command: str, trees: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = typed(command, trees)
    bundle = place(page, command)
    if bundle == "zoo":
        monkeypatch.chdir(zoo_bundle(tmp_path / "zoo", command))
        words += ["--steps", "2", "--gradients", "4"]
    else:
        shutil.copytree(BUNDLES / bundle, tmp_path / "bundles" / bundle)
        monkeypatch.chdir(tmp_path if f"bundles/{bundle}" in command else tmp_path / "bundles" / bundle)
        words += shorter(bundle, words, trees)
        if "--accept" in words:  # an interval's end is asked for
            words += ["--dataset_dir", str(trees["six_ct"]), "--split", "all", "--write_volumes", "none"]
        (Path.cwd() / "my_attacks.py").write_text(snippet("class HalfSteps"))
        shutil.copy(SCHEMA, "meta_schema.json")  # which verify_metadata would download
    run(words, monkeypatch)


def typed(command: str, trees: dict[str, Path]) -> list[str]:
    """The words of a command behind ``-m monai.bundle``, with folders in place of their names."""
    command = command.replace("$(python -m monai_smia overlay)", str(OVERLAY))
    if "--fold" in command:  # as many eyes as there are folds
        command = command.replace("<fundus>", "<many_eyes>")
    command = command.replace("\\$", "$")  # as a shell does within double quotes, and shlex does not
    overlaid = f"\"['configs/train.json','configs/evaluate.json','{OVERLAY}']\" {LABELS}"
    rest = overlaid if "--attack#" in command else "configs/attack_eval.yaml"
    command = command.replace(" ... ", f" --bundle_root . --config_file {rest} ")
    command = re.sub(r"<(\w+)>", lambda found: str(trees[DATA[found[1]].__name__]), command)
    return shlex.split(command.split("-m monai.bundle ", 1)[1])


def place(page: str, command: str) -> str:
    """The bundle that a command is typed in."""
    if "monai_smia overlay" in command or "--attack#" in command:
        return "zoo"
    found = [name for name in (CT, FUNDUS, ENDOSCOPY) if name in page + command]
    return found[0] if found else CT


def zoo_bundle(folder: Path, command: str) -> Path:
    """The small bundle of the zoo that a command is typed in: VISTA3D where it is prompted, with the page's image."""
    if "--input_dict" in command:
        fine = zoo.volume()[0].repeat(8, 0).repeat(8, 1).repeat(2, 2)  # the page's points lie inside
        vista.bundle(folder, {"label_prompt": [1]})
        nib.save(nib.Nifti1Image(fine, zoo.AFFINE @ np.diag([1 / 8, 1 / 8, 1 / 2, 1])), folder / "ct.nii.gz")
        return folder
    others = zoo.classifier if "inference.json" in command else zoo.supervised_segmentation
    return (landmarks.bundle if "#task regression" in command else others)(folder)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``python -m monai.bundle`` does with the words."""
    monkeypatch.setattr(sys, "argv", [str(ENTRY), *words])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "my_attacks", raising=False)
    try:
        runpy.run_path(str(ENTRY), run_name="__main__")
    except SystemExit as end:  # 3 is the answer to --accept
        if end.code and not (end.code == NOT_MET and "--accept" in words):
            raise


def snippet(start: str) -> str:
    """The Python that a document shows."""
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            if start in block:
                return str(block)
    raise AssertionError(start)
