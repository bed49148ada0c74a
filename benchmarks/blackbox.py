"""What decisions alone are worth: noise, Square with scores, and the decision-based search, equal queries at 70 HU.

The lung bundle on its synthetic demo thorax, on the grid of the CT. The gap is that of the damage (1 - Jaccard) between
noise and Square, which sees the scores of every voxel.

    python benchmarks/blackbox.py --queries 200
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from pathlib import Path

import torch
from measured import Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser

from monai_smia.attacks import Attack, DecisionSearch, Noise, Square

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "ct_lung_segmentation"
CLIP = (-1024.0, 3071.0)
ASKS = {"Noise": "nothing", "Square": "scores", "DecisionSearch": "decisions"}


def attack_of(name: str, eps: float, queries: int) -> Attack:
    """The attack of a row."""
    if name == "Noise":
        return Noise(eps=eps, clip=CLIP)
    if name == "Square":
        return Square(eps=eps, clip=CLIP, queries=queries, loss="soft_jaccard", progress=False)
    return DecisionSearch(eps=eps, clip=CLIP, queries=queries, progress=False)


def measure(arguments: tuple[str, float, int]) -> Row:
    """One row, in a process of its own."""
    torch.set_num_threads(1)
    name, eps, queries = arguments
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "attack_eval.yaml"))
    parser["bundle_root"], parser["output_dir"] = str(BUNDLE), tempfile.mkdtemp()
    parser.get_parsed_content("initialize")
    victim, evaluation = parser.get_parsed_content("victim"), parser.get_parsed_content("evaluation")
    case = evaluation.load(evaluation.cases[0])
    result = attack_of(name, eps, queries)(victim, case.image, case.label, mask=case.mask)
    asked = 0 if name == "Noise" else len(result.loss_history) - 1
    return {"attack": name, "asks": ASKS[name], "eps": eps, "queries": asked} | {
        "clean": float(result.clean_damage),
        "damage": float(result.damage),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eps", type=float, default=70.0, help="HU")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    add_save(parser)
    args = parser.parse_args()
    work = [(name, args.eps, args.queries) for name in ("DecisionSearch", "Square", "Noise")]
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        rows = pool.map(measure, work, chunksize=1)
    by_name = {row["attack"]: row["damage"] for row in rows}
    for row in rows:
        row["closed"] = (row["damage"] - by_name["Noise"]) / (by_name["Square"] - by_name["Noise"])
    rows.reverse()
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0])


HALF = 0.5  # of the gap, that decisions alone have to close


def claims(rows: list[Row]) -> Claims:
    """What decisions alone are worth."""
    search = next(row for row in rows if row["attack"] == "DecisionSearch")
    if search["queries"] >= 100:  # a run to see whether it runs claims nothing
        yield (
            f"In {search['queries']} queries decisions alone close {search['closed']:.2f} of the gap, at least half.",
            search["closed"] >= HALF,
        )
        yield (
            "Every query of both attacks is counted.",
            all(row["queries"] == search["queries"] for row in rows if row["attack"] != "Noise"),
        )


TABLES = {
    "table": Table(
        {
            "attack": "{attack}",
            "asks for": "{asks}",
            "queries": "{queries}",
            "damage, clean": "{clean:.3f}",
            "damage, attacked": "{damage:.3f}",
            "share of the gap": "{closed:.2f}",
        },
        claims=claims,
    )
}


if __name__ == "__main__":
    main()
