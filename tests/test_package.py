"""What is handed to others: the bundles of the package, and the texts that say its name and version."""

from __future__ import annotations

import filecmp
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import monai_smia
from monai_smia.adapters import shipped
from monai_smia.adapters.shipped import copy_bundle, shipped_bundles
from monai_smia.cli import main

ROOT = Path(__file__).parents[1]
NAMES = [path.name for path in sorted((ROOT / "bundles").iterdir())]


def test_their_names_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle"]) == 0
    assert capsys.readouterr().out.split() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_the_bundle_as_it_ships(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", name, str(tmp_path / "new" / "copy")]) == 0
    copy = tmp_path / "new" / "copy"
    assert f"--config_file {copy}/configs/attack_eval.yaml --bundle_root {copy}\n" in capsys.readouterr().out
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT / "bundles" / name, capture_output=True, text=True, check=False
    )
    files = tracked.stdout.split() or ["configs/attack_eval.yaml", "models/model.pt"]  # an archive has no git
    same, differing, missing = filecmp.cmpfiles(ROOT / "bundles" / name, copy, files, shallow=False)
    assert (sorted(same), differing, missing) == (sorted(files), [], [])


def assert_paths_exist(command: str, folder: Path) -> None:
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "monai.bundle", "run"]
    given = {words[i + 1] for i, word in enumerate(words) if word in ("--config_file", "--bundle_root")}
    assert len(given) == 2
    assert all((folder / path).exists() for path in given)


def test_the_commands_of_the_readme_need_no_checkout(tmp_path: Path) -> None:
    """`make test_wheel` runs them."""
    text = (ROOT / "README.md").read_text()
    copying, running = re.search(r"```sh\n(.*?)```", text, re.DOTALL).group(1).splitlines()  # type: ignore[union-attr]
    subprocess.run([sys.executable, *shlex.split(copying)[1:]], cwd=tmp_path, check=True)
    assert_paths_exist(running, tmp_path)


def test_a_name_that_a_shell_would_take_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", NAMES[0], "my lungs"]) == 0
    assert_paths_exist(capsys.readouterr().out.splitlines()[-1], tmp_path)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine"):
        assert main(["bundle", NAMES[0], str(folder)]) == 1
        assert f"folder='{folder}' holds something already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_unknown_name_is_told_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "ct_lung"]) == 1
    assert capsys.readouterr().err == f"bundle must be one of {', '.join(NAMES)}, got 'ct_lung'.\n"


def test_outputs_of_a_checkout_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("b/configs/metadata.json", "b/eval/attack_eval/report.html", "b/configs/__pycache__/x.pyc"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    monkeypatch.setattr(shipped, "_PACKAGED", tmp_path)
    copy = copy_bundle("b", tmp_path / "copy")
    assert [path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()] == [
        "configs/metadata.json"
    ]


def test_a_package_without_bundles_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "_PACKAGED", tmp_path)
    with pytest.raises(FileNotFoundError, match="no bundle lies in"):
        shipped_bundles()


def test_one_version_everywhere() -> None:
    version = monai_smia.__version__
    assert f'version="{version}"' in (ROOT / "setup.py").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert re.search(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) == version  # type: ignore[union-attr]


def test_workflow_and_hooks_call_what_is_there() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert steps == [".ci/run", "make check LOCK="]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = (ROOT / "Makefile").read_text()
    assert all(" ".join(hook["entry"].split()[:2]) in lint for hook in hooks)


def test_the_attack_of_the_contributors_page_runs() -> None:
    """Its file as it stands there is an attack that obeys its radius."""
    import torch

    from monai_smia.victims import SegmentationVictim

    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)  # type: ignore[union-attr]
    names: dict[str, object] = {"__name__": "half_steps"}
    sys.modules.setdefault("half_steps", type(sys)("half_steps"))
    exec(compile(code, "half_steps.py", "exec"), names)
    image = torch.rand(1, 1, 8, 8)
    brighter_than_half = torch.nn.Conv2d(1, 2, 1)
    brighter_than_half.load_state_dict(
        {"weight": torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), "bias": torch.tensor([0.0, -0.5])}
    )
    attack = names["HalfSteps"](eps=0.1, steps=3)  # type: ignore[operator]
    result = attack(SegmentationVictim(brighter_than_half), image, (image > 0.5).long())
    assert 0 < (result.adversarial - image).abs().max() <= 0.1 + 1e-6
