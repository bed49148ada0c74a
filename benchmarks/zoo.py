"""Every bundle of the MONAI Model Zoo under attack: what it needs, and what happens.

    python benchmarks/zoo.py --zoo CHECKOUT/models --save zoo

The checkout is yours: nothing is fetched, and nothing of it is kept. Of every bundle a copy gets a small synthetic
input and weights that are drawn at random, of the very network of its own inference config, whose file is untouched:
what is overridden stands in the table. So figures say that an attack goes through, and nothing of how robust a model
is. First ``overlay --check`` says what would stop it, then ``run attack_eval`` takes two gradients.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measured import ROOT, Claims, Row, Table, add_save, save
from zoo_inputs import RECIPES, Recipe

TIMEOUT = 1800.0
ATTACK = {"preset": "paper", "steps": 2, "attack#only": ["Noise", "MIFGSM"], "attack#figures": False}
WHERE = "Attacking what the network sees, not the files: "


def prepared(bundle: Path, folder: Path, recipe: Recipe) -> tuple[Path, dict[str, Any]]:
    """A copy of a bundle with its input, and the overrides."""
    root = folder / bundle.name
    shutil.copytree(bundle, root)
    recipe.make(root)
    given = {name: _placed(value, root) for name, value in recipe.overrides.items()}
    return root, {"bundle_root": str(root), "dataset_dir": str(root / "data"), **given}


def _placed(value: Any, root: Path) -> Any:
    return value.replace("{root}", str(root)).replace("{{", "{").replace("}}", "}") if isinstance(value, str) else value


def config_of(root: Path, recipe: Recipe) -> Path:
    names = [recipe.config] if recipe.config else ["inference.json", "inference.yaml"]
    return next(path for name in names if (path := root / "configs" / name).is_file())


def drawn(root: Path, config: Path, overrides: Mapping[str, Any]) -> int:
    """Weights of the bundle's own network, drawn at random, where its config loads them from; their number."""
    import torch
    from monai.bundle import ConfigParser

    sys.path.insert(0, str(root))
    parser = ConfigParser()
    parser.read_config(str(config))
    for name, value in overrides.items():
        parser[name] = value
    parser.parse()
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    (root / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), root / "models" / "model.pt")
    return sum(parameter.numel() for parameter in network.parameters())


def words(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as they are typed."""
    return [word for name, value in overrides.items() for word in (f"--{name}", str(value))]


def started(command: Sequence[str], root: Path, *, errors: bool = True) -> tuple[int, str, float]:
    """Exit status, output, with what it says of errors, and seconds of a command in a bundle's folder."""
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{ROOT}", "PYTHONWARNINGS": "ignore"}
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {TIMEOUT:.0f} s", TIMEOUT
    said = f"{done.stdout}\n{done.stderr}" if errors or not done.stdout.strip() else done.stdout
    return done.returncode, said, time.perf_counter() - start


def row_of(bundle: Path, folder: Path, *, keep: bool = False) -> Row:
    """What one bundle needs, and what happens."""
    recipe = RECIPES[bundle.name]
    root, overrides = prepared(bundle, folder, recipe)
    config = config_of(root, recipe)
    typed = {name: value for name, value in recipe.overrides.items() if name not in ("dataset_dir", "input_dict")}
    row: Row = {
        "bundle": bundle.name,
        "apart": recipe.apart,
        "packages": list(recipe.packages),
        "overrides": {name: str(value) for name, value in typed.items()},
        "smaller": recipe.smaller,
    }
    code, said, _ = started([sys.executable, __file__, "--draw", str(root), str(config), json.dumps(overrides)], root)
    row["parameters"] = int(said.split()[-1] if code == 0 else 0)
    row["drawn"] = "" if code == 0 else last_line(said)
    check = [sys.executable, "-m", "monai_smia", "overlay", "--check", str(config), *words(overrides)]
    _, said, row["check_s"] = started(check, root, errors=False)
    row["check"] = without_paths(last_line(said), root)
    files = f"['{config}','{ROOT / 'monai_smia/adapters/monai_bundle/attack_eval.yaml'}']"
    run = [sys.executable, "-m", "monai.bundle", "run", "attack_eval", "--config_file", files]
    code, said, row["run_s"] = started([*run, *words({**overrides, **ATTACK, "output_dir": str(root / "out")})], root)
    row |= outcome(code, said, root)
    if not keep:
        shutil.rmtree(root)
    return row


def outcome(code: int, said: str, root: Path) -> Row:
    """Figures of a run that went through, or the sentence that stopped it and whether it is ours."""
    summary = root / "out" / "attack_eval" / "summary.json"
    if code != 0 or not summary.is_file():
        ours = "Traceback (most recent call last)" not in said
        return {"ran": False, "stopped": without_paths(last_line(said), root), "ours": ours}
    found = json.loads(summary.read_text())["rows"]
    attacked = next(r for r in found if r["attack"] == "MIFGSM" and r["stage"] == "computed")
    clean = next(r for r in found if r["attack"] == "Clean")
    metric = next(name for name in ("jaccard", "accuracy", "map50") if name in clean)
    why = said.partition(WHERE)[2].splitlines()[0] if WHERE in said else ""
    return {
        "ran": True,
        "ours": True,
        "stopped": "",
        "space": "network" if why else "native",
        "why": without_paths(why, root),
        "metric": metric,
        "clean": clean[metric],
        "attacked": attacked[metric],
        "gradients": attacked["gradients"],
        "agreement": clean.get("agreement"),
        "stored": any(r["stage"] == "stored" for r in found),
    }


def last_line(said: str) -> str:
    """The last sentence of an output."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[-1])[:400] if lines else ""


def without_paths(text: str, root: Path) -> str:
    """Without the folder that the bundle was copied to."""
    return text.replace(str(root), "BUNDLE")


def cells_of(rows: list[Row]) -> list[dict[str, str]]:
    """One line a bundle."""
    found = []
    for row in sorted(rows, key=lambda r: r["bundle"].lower()):
        needs = [*row["packages"], *(f"`--{name}`" for name in row["overrides"])]
        if row["ran"]:
            figures = ", ".join(f"{row[name]:.3f}" if row[name] is not None else "-" for name in ("clean", "attacked"))
            happened = f"runs, in {row['space']} space; {row['metric']} {figures}"
        else:
            happened = row["stopped"]
        found.append(
            {
                "bundle": row["bundle"] + (f" ({row['apart']})" if row["apart"] else ""),
                "parameters": f"{row['parameters']:,}" if row["parameters"] else "-",
                "needs": ", ".join(needs) or "nothing",
                "smaller": row["smaller"] or "-",
                "overlay --check": row["check"],
                "attack_eval": happened,
            }
        )
    return found


def claims(rows: Sequence[Row]) -> Claims:
    """How many run, and that nothing stops without a sentence of ours."""
    wanted = [row for row in rows if not row["apart"]]
    ran = [row for row in wanted if row["ran"]]
    yield (
        f"{len(ran)} of the {len(wanted)} bundles that take images run.",
        len(ran) >= 22,
    )
    told = sum(row["check"] == "Nothing is missing." for row in ran)
    yield (
        f"`overlay --check` finds nothing missing in {told} of these, and says beforehand what stops the others.",
        all((row["check"] == "Nothing is missing.") == row["ran"] for row in rows),
    )
    yield "No run ends in a traceback.", all(row["ours"] for row in rows)


TABLES = {"": Table(cells_of, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, help="the folder models of a checkout of Project-MONAI/model-zoo")
    parser.add_argument("--bundles", nargs="+", choices=sorted(RECIPES), help="some of them; without it all")
    parser.add_argument("--rows", type=Path, help="keep finished rows in this file, and go on from it")
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave the copies there")
    parser.add_argument("--draw", nargs=3, metavar=("ROOT", "CONFIG", "OVERRIDES"), help=argparse.SUPPRESS)
    add_save(parser)
    args = parser.parse_args()
    if args.draw:
        print(drawn(Path(args.draw[0]), Path(args.draw[1]), json.loads(args.draw[2])))
        return
    rows: list[Row] = json.loads(args.rows.read_text()) if args.rows and args.rows.is_file() else []
    done = {row["bundle"] for row in rows}
    for name in args.bundles or sorted(RECIPES):
        if name in done:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            rows.append(row_of(args.zoo / name, args.keep or Path(temporary), keep=args.keep is not None))
        print(json.dumps(rows[-1], indent=1), flush=True)
        if args.rows:
            args.rows.write_text(json.dumps(rows))
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
