"""Every bundle of the MONAI Model Zoo under attack: what it needs, and what happens.

    MONAI_SMIA_ZOO=CHECKOUT/models python benchmarks/zoo.py --save zoo

The checkout is yours: nothing is fetched, and nothing of it is kept. Of every bundle a copy gets a small synthetic
input and weights that are drawn at random, of the very network of its own inference config, whose file is untouched:
what is overridden stands in the table. So figures say that an attack goes through, and nothing of how robust a model
is. First ``overlay --check`` says what would stop it, then ``attack_eval`` takes two gradients. Where a drawn network
decides noise, of which resampling or the largest component leaves something else, the next seed is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measured import RESULTS, ROOT, Claims, Row, Table, add_save, save, trunk
from zoo_inputs import RECIPES, Recipe

ZOO = "MONAI_SMIA_ZOO"  # environment variable: where the bundles lie
TIMEOUT = 1800.0
SEEDS, NOISE = 8, "an attack on the one says little of the other"
ATTACK = {"preset": "paper", "steps": 2, "attack#only": ["MIFGSM"], "attack#figures": False, "attack#progress": True}
WHERE = "Attacking what the network sees, not the files: "
FINE = "Nothing is missing."


def prepared(bundle: Path, folder: Path, recipe: Recipe) -> tuple[Path, dict[str, Any]]:
    """A copy of a bundle with its input, and the overrides."""
    root = folder / bundle.name
    shutil.copytree(bundle, root)
    recipe.make(root)
    given = {name: placed(value, root) for name, value in recipe.overrides.items()}
    return root, {"bundle_root": str(root), "dataset_dir": str(root / "data"), **given}


def placed(value: Any, root: Path) -> Any:
    """A value with the folder of the bundle in its place."""
    return value.replace("{root}", str(root)) if isinstance(value, str) else value


def config_of(root: Path) -> Path:
    return next(path for end in ("json", "yaml") if (path := root / "configs" / f"inference.{end}").is_file())


def drawn(root: Path, config: Path, overrides: Mapping[str, Any], seed: int) -> int:
    """Weights of the bundle's own network, drawn at random, where its config loads them from; their number."""
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(config))
    for name, value in overrides.items():
        if not name.startswith("attack#"):
            parser[name] = value
    parser.parse()
    torch.manual_seed(seed)
    network = parser.get_parsed_content("network_def")
    RECIPES[root.name].drawn(network)
    file = root / RECIPES[root.name].weights
    file.parent.mkdir(exist_ok=True)
    torch.save(network.state_dict(), file)
    return sum(parameter.numel() for parameter in network.parameters())


def attacked(root: Path, config: Path, overrides: Mapping[str, Any]) -> None:
    """``attack_eval`` of the overlay, without the probes of its flags, which take longer than the attack."""
    from monai.bundle import ConfigParser

    from monai_smia.adapters import OVERLAY

    parser = ConfigParser()
    parser.read_config([str(config), str(OVERLAY)])
    parser.read_meta(str(root / "configs" / "metadata.json"))
    for name, value in {**overrides, **ATTACK, "output_dir": str(root / "out")}.items():
        parser[name] = value
    parser.parse()
    if "initialize" in parser:
        parser.get_parsed_content("initialize")
    evaluation: Any = parser.get_parsed_content("attack")
    evaluation.num_probed_cases = 0
    evaluation.run()


def examined(root: Path, overrides: Mapping[str, Any], seed: int) -> None:
    """In a process of its own, which a bundle's scripts and failures are kept in; what came of it lies in a file."""
    from monai_smia.adapters.monai_bundle import check_bundle

    os.chdir(root)
    sys.path.insert(0, str(root))
    config, row = config_of(root), {"seed": seed, "parameters": 0, "ran": False}
    try:
        row["parameters"] = drawn(root, config, overrides, seed)
    except Exception:  # what stops it stops the check, too, which says it
        traceback.print_exc()
    start = time.perf_counter()
    row["check"] = " ".join(check_bundle([str(config)], overrides)) or FINE
    row["check_s"] = time.perf_counter() - start
    (root / "row.json").write_text(json.dumps(row))
    if row["check"] == FINE:
        start = time.perf_counter()
        attacked(root, config, overrides)
        row |= {"run_s": time.perf_counter() - start, **outcome(root, Path("log.txt").read_text())}
    (root / "row.json").write_text(json.dumps(row))


def alone(root: Path, overrides: Mapping[str, Any], seed: int) -> Row:
    """The same from outside: with an end to its time, and what it printed in a file."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        log = os.open(root / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            examined(root, overrides, seed)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(0)
    end = time.monotonic() + TIMEOUT
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.2)
    file = root / "row.json"
    return json.loads(file.read_text()) if file.is_file() else {"ran": False, "check": "no answer", "parameters": 0}


def row_of(bundle: Path, folder: Path) -> Row:
    """What one bundle needs, and what happens."""
    recipe = RECIPES[bundle.name]
    root, overrides = prepared(bundle, folder, recipe)
    typed = {name: str(value) for name, value in recipe.overrides.items() if name not in PLACES}
    row: Row = {"bundle": bundle.name, "apart": recipe.apart, "smaller": recipe.smaller}
    row |= {"packages": list(recipe.packages), "overrides": typed}
    for seed in range(SEEDS):
        found = alone(root, overrides, seed)
        if NOISE not in found["check"]:
            break
    return {**row, **found, "check": found["check"].replace(str(root), "BUNDLE")}


PLACES = (
    "dataset_dir",
    "input_dict",
    "data_list_file_path",
    "output_dir",
    "datalist",
)  # overrides that say where it is


def outcome(root: Path, said: str) -> Row:
    """Figures of a run that went through."""
    found = json.loads((root / "out" / "attack_eval" / "summary.json").read_text())["rows"]
    stages = {row["stage"]: row for row in found if row["attack"] == "MIFGSM"}
    clean = next(row for row in found if row["attack"] == "Clean")
    metric = next(name for name in ("jaccard", "accuracy", "map50", "share_right") if name in clean)
    return {
        "ran": True,
        "space": "network" if WHERE in said else "native",
        "why": said.partition(WHERE)[2].splitlines()[0].replace(str(root), "BUNDLE") if WHERE in said else "",
        "metric": metric,
        "clean": clean[metric],
        "attacked": stages["computed"][metric],
        "gradients": stages["computed"]["gradients"],
        "agreement": clean.get("agreement"),
        "stored": "stored" in stages or "both" in stages,
    }


def cells_of(rows: list[Row]) -> list[dict[str, str]]:
    """One line a bundle."""
    return [
        {
            "bundle": row["bundle"] + (f" ({row['apart']})" if row["apart"] else ""),
            "parameters": f"{row['parameters']:,}" if row["parameters"] else "-",
            "needs": ", ".join([*row["packages"], *(f"`--{name}`" for name in row["overrides"])]) or "-",
            "smaller here": row["smaller"] or "-",
            "`overlay --check`": row["check"],
            "`attack_eval`": happened(row),
        }
        for row in sorted(rows, key=lambda row: row["bundle"].lower())
    ]


def happened(row: Row) -> str:
    """What came of a run, in a few words."""
    if not row["ran"]:
        return "-"
    figures = " to ".join("-" if row[name] is None else f"{row[name]:.3f}" for name in ("clean", "attacked"))
    where = "on the grid of the files" if row["space"] == "native" else "of what the network sees"
    return f"runs, {where}; {row['metric']} {figures}"


def claims(rows: Sequence[Row]) -> Claims:
    """How many run, and that what stops the others is said beforehand."""
    wanted = [row for row in rows if not row["apart"]]
    ran = [row for row in wanted if row["ran"]]
    native = sum(row["space"] == "native" for row in ran)
    yield (
        f"{len(ran)} of these {len(wanted)} bundles that take images run, {native} of them on the grid of the files.",
        len(ran) > len(wanted) / 2,
    )
    agree = all((row["check"] == FINE) == row["ran"] for row in rows)
    commits = list(dict.fromkeys(row["commit"] for row in rows))
    if len(commits) > 1:
        named = {c: [f"`{row['bundle']}`" for row in rows if row["commit"] == c] for c in commits}
        most = max(named, key=lambda commit: len(named[commit]))
        others = "; ".join(f"{', '.join(names)} of {c[:7]}" for c, names in named.items() if c != most)
        yield f"Measured at commit {most[:7]}, but {others}; with the inputs of the commit below.", True
    yield "What `overlay --check` finds nothing missing in runs, and what stops the others is said by it.", agree


def earlier(names: Sequence[str]) -> list[Row]:
    """Rows of other bundles, as the results file has them, each with the commit that it was measured at."""
    found = json.loads((ROOT / RESULTS / "zoo.json").read_text())
    return [{"commit": found["commit"], **row} for row in found["rows"] if row["bundle"] not in names]


TABLES = {"table": Table(cells_of, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, help=f"the folder models of a checkout of the Model Zoo (${ZOO})")
    parser.add_argument("--bundles", nargs="+", choices=sorted(RECIPES), help="some of them; without it all")
    parser.add_argument("--rows", type=Path, help="keep finished rows in this folder, and go on from it")
    parser.add_argument("--earlier", action="store_true", help="and the rows of all others out of the results file")
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave the copies there")
    add_save(parser)
    args = parser.parse_args()
    args.zoo = args.zoo or Path(os.environ.get(ZOO, ""))
    if not (args.zoo / "spleen_ct_segmentation").is_dir():
        parser.error(f"--zoo, or ${ZOO}, must be the folder models of a checkout of the Model Zoo.")
    rows: list[Row] = []
    for name in args.bundles or sorted(RECIPES):
        kept = None if args.rows is None else args.rows / f"{name}.json"
        if kept is None or not kept.is_file():
            import torch

            import monai_smia.adapters.monai_bundle  # noqa: F401  # once, for all that are forked

            torch.set_num_threads(1)
            with tempfile.TemporaryDirectory() as temporary:
                row = {**row_of(args.zoo / name, args.keep or Path(temporary)), "commit": trunk()[0]}
            if kept is not None:
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(json.dumps(row))
            print(json.dumps(row, indent=1), flush=True)
        else:
            row = json.loads(kept.read_text())
        rows.append(row)
    rows += earlier([row["bundle"] for row in rows]) if args.earlier else []
    save(args.save, rows, seeds=sorted({row.get("seed", 0) for row in rows}))


if __name__ == "__main__":
    main()
