"""Commands of the documents that are not of ``monai.bundle``: their options are known, and a test runs each of them."""

from __future__ import annotations

import re
import shlex

import pytest
from test_documented_commands import FENCE, PAGES, ROOT

from monai_smia.cli import _parser

EVERYWHERE = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md", *ROOT.glob("examples/**/*.md")]
SETUP = ("python3 -m venv", "pip install", ".venv/bin/pip", "apt-get")  # of an environment
# Which test runs it, and by what one finds it there.
RUN_BY = {
    "python -m monai_smia overlay": ("tests/test_documented_commands.py", "monai_smia overlay"),
    "python -m monai_smia bundle": ("tests/test_package.py", '"bundle"'),
    "python -m monai_smia report": ("tests/test_cli.py", '"report"'),
    "python -m monai_smia compare": ("tests/report/test_comparison.py", '"compare"'),
    "python -m monai_smia run": ("tests/adapters/model_file/test_evaluation.py", '"run"'),
    "python -m monai_smia blackbox": ("tests/adapters/product/test_command.py", '"blackbox"'),
    "python -m monai_smia evidence": ("tests/evidence/test_verify.py", '"evidence"'),
    "python -m monai_smia verify": ("tests/evidence/test_verify.py", '"verify"'),
    "python -m monai_smia index": ("tests/report/test_leaderboard.py", '"index"'),
    "python -m monai_smia node": ("tests/adapters/product/test_node.py", '"node"'),
    "python -m monai_smia nnunet": ("tests/adapters/nnunet/test_evaluation.py", '"nnunet"'),
    "python -m monai_smia auto3dseg": ("tests/adapters/auto3dseg/test_evaluation.py", '"auto3dseg"'),
    "python examples/monai_deploy_app/app.py": ("tests/adapters/monai_deploy/test_operators.py", "monai_deploy_app"),
    "python examples/attack_series_from_pacs.py": (
        "tests/examples/test_attack_series_from_pacs.py",
        "attack_series_from_pacs",
    ),
    "python examples/segmentation_node.py": ("tests/adapters/product/test_node.py", "segmentation_node"),
    "python examples/nnunet_thorax/thorax.py": ("tests/adapters/nnunet/test_example.py", "thorax.py"),
    "benchmarks/with_orthanc.sh": ("tests/integration/test_orthanc.py", "with_orthanc"),
    "python benchmarks/dicom_survival.py": ("tests/integration/test_orthanc.py", "dicom_survival"),
}
MADE = ("attack_eval", "bench", "bench-quick", "check", "deploy_example", "test_deploy")  # targets, of the workflow


def lines() -> list[str]:
    """What stands in blocks without a language, and in the text after ``python``, continued lines joined."""
    found: dict[str, None] = {}
    for page in EVERYWHERE:
        text = re.sub(r"<!-- results: .*?<!-- end -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        blocks = [block for language, block in FENCE.findall(text) if language in ("", "sh", "bash")]
        spans = re.findall(r"`(python -m monai_smia [^`]*)`", FENCE.sub("", text))
        for line in [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + spans:
            line = " ".join(re.split(r" {2,}#", line)[0].split())
            if line and not line.startswith("#") and "-m monai.bundle" not in line and "torchrun" not in line:
                found[line] = None
    return [line for line in found if not line.startswith(SETUP) and re.match(r"(python|make|benchmarks/)", line)]


LINES = lines()


def test_there_are_some() -> None:
    assert len(LINES) >= 20


@pytest.mark.parametrize("line", LINES)
def test_a_test_runs_it(line: str) -> None:
    if line.startswith("make "):
        assert line.split()[1] in MADE
        assert re.search(rf"^([\w-]+ )*{line.split()[1]}( [\w-]+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    known = [by for start, by in RUN_BY.items() if line.startswith(start) and line[len(start) :][:1] in ("", " ")]
    assert known, line
    file, words = known[0]
    assert words in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("python -m monai_smia")])
def test_its_options_are_known(line: str) -> None:
    if "..." in line or re.fullmatch(r"python -m monai_smia \w+", line):  # the name of a command
        line = line.split("...")[0]
        assert line.split()[3] in str(_parser().format_help())
        return
    words = shlex.split(line)[3:]
    options, others = _parser().parse_known_args(words)
    if words[0] == "verify" and others:  # options of the recorded command
        options, others = _parser().parse_known_args(["run", "--task", "segmentation", *others])
    assert not others or getattr(options, "check", None), others


@pytest.mark.parametrize("line", [line for line in LINES if re.match(r"python (examples|benchmarks)/", line)])
def test_its_script_is_there_and_has_its_options(line: str) -> None:
    script, *words = shlex.split(line.removesuffix('"'))[1:]  # of a quoted command
    text = (ROOT / script).read_text(encoding="utf-8")
    if "monai_deploy" not in script:  # whose options are those of the SDK
        for name in (word for word in words if word.startswith("--")):
            assert f'"{name}"' in text, name
