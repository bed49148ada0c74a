"""Our `standard` plan beside other libraries' strongest attacks and the published ones, on the same networks and data.

At equal radii; every attack returns images that keep to the radius, or the clean one counts. "What is left" is the
robust accuracy, the mean Jaccard index over images, or mAP at IoU 0.5; seconds are processor time of one thread. The
networks are those of `standard_networks.py`, trained anew where the folder does not hold them, and the polyp detector
that the endoscopy bundle ships. Real data is looked for in $MONAI_SMIA_DATA; what needs it is left out without.

    python benchmarks/standard.py --only classification --save standard_classification
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import DATA, ROOT, Claims, Row, Table, add_save, save
from standard_networks import SEEDS, classifier, detector_and_frames, segmenter
from standard_peers import (
    Run,
    classification_peers,
    detection_published,
    segmentation_peers,
    segmentation_published,
)
from torch import Tensor

from monai_smia.attacks import Attack
from monai_smia.evaluation import standard_attack
from monai_smia.metrics import DetectionMetrics
from monai_smia.threat import ThreatModel
from monai_smia.victims import Victim

POLYPS = ROOT / "bundles" / "endoscopic_artefact_detection" / "models" / "model.pt"
OURS = "ours: standard"
SINGLE = ("soft Jaccard", "steered balanced CE")  # the members that take as many gradients as every other attack
PUBLISHED = "all of the others together"
LEVEL = 0.005  # a difference of what is left that counts as none
STEPS = {
    "classification": 100,
    "lungs": 100,
    "textures": 100,
    "volumes": 20,
    "detection": 20,
}  # gradients of a single attack
CLASSIFIERS = (
    ("plain", "linf", 0.06),
    ("plain", "l2", 0.4),
    ("robust", "linf", 0.15),
    ("robust", "l2", 0.8),
    ("saturated", "linf", 0.06),
    ("rounded", "linf", 0.1),
)
SEGMENTERS = {
    "lungs": (("lungs", 0.005), ("lungs", 0.01), ("lungs robust", 0.03), ("lungs robust", 0.06)),
    "textures": (("four classes", 0.01), ("four classes", 0.02)),
    "volumes": (("lungs 3-D", 0.01), ("lungs robust 3-D", 0.03), ("lungs robust 3-D", 0.06)),
}
DETECTION = (0.2 / 255, 0.5 / 255)


def classification(folder: Path, data: Path | None) -> Iterator[Row]:
    for kind, norm, eps in CLASSIFIERS:
        victim, image, label = classifier(kind, "test", folder)
        ours = standard_attack("classification", eps=eps, norm=norm, steps=STEPS["classification"])
        runs = {OURS: of(victim, ours)}
        runs |= classification_peers(victim.network, norm, eps, STEPS["classification"], image.shape[1:])
        yield from compared(
            victim, image, label, ThreatModel(eps, norm), runs, network=kind, steps=STEPS["classification"]
        )


def segmentation(part: str, folder: Path, data: Path | None) -> Iterator[Row]:
    steps = STEPS[part]
    for kind, eps in SEGMENTERS[part]:
        if kind.startswith("lungs") and data is None:
            print(f"left out, without ${DATA}: {kind}")
            continue
        victim, image, label = segmenter(kind, "test", folder, data and data / "ct")
        ours = standard_attack("segmentation", eps=eps, steps=steps)
        runs = {OURS: of(victim, ours)}
        runs |= {f"ours: {member} alone": of(victim, ours.attacks[k]) for k, member in enumerate(SINGLE)}
        runs |= {name: of(victim, attack) for name, attack in segmentation_published(eps, steps).items()}
        runs |= segmentation_peers(victim, eps, steps, int(label.max()) + 1)
        yield from compared(victim, image, label, ThreatModel(eps), runs, network=kind, steps=steps)


def detection(folder: Path, data: Path | None) -> Iterator[Row]:
    if data is None:
        print(f"left out, without ${DATA}: detection")
        return
    victim, frames = detector_and_frames(POLYPS, data / "endoscopy", folder)
    metrics = DetectionMetrics(["polyp"])
    for eps in DETECTION:
        attacks: dict[str, Attack] = {OURS: standard_attack("detection", eps=eps, steps=STEPS["detection"])}
        attacks |= detection_published(eps, STEPS["detection"])
        records: dict[str, list[Any]] = {"clean": [metrics.case(victim, victim.infer(x), y, x) for x, y in frames]}
        for name, attack in attacks.items():
            began = time.process_time()
            found = [toward(attack, victim, image, label) for image, label in frames]
            seconds = time.process_time() - began
            records[name] = [
                metrics.case(victim, victim.infer(x), y, x) for x, (_, y) in zip(found, frames, strict=True)
            ]
            values = metrics.summary(records[name])
            yield reported(
                network="polyps", steps=STEPS["detection"], norm="linf", eps=eps, attack=name,
                kept=values["map50"], missed=values["missed"],
                clean=metrics.summary(records["clean"])["map50"], seconds=seconds, images=len(frames),
            )  # fmt: skip


def toward(attack: Attack, victim: Victim, image: Tensor, label: Any) -> Tensor:
    """The frame after the attack; a targeted one goes towards a frame without any object."""
    empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}]
    return attack(victim, image, empty if attack.targeted else label).adversarial


def of(victim: Victim, attack: Attack) -> Run:
    """An attack of ours as a function; every image of the batch draws from a seed of its own."""
    return lambda image, label: attack(victim, image, label, seed=list(range(len(image)))).adversarial


def compared(
    victim: Victim, image: Tensor, label: Tensor, threat: ThreatModel, runs: Mapping[str, Run], **known: Any
) -> Iterator[Row]:
    """A row an attack, and one of the worst case over all that are not ours."""

    def left(points: Tensor) -> np.ndarray:
        pairs = zip(points.split(1), label.split(1), strict=True)
        return np.array([1 - float(victim.damage(victim.infer(x), y)) for x, y in pairs])

    common = {**known, "norm": threat.norm, "eps": threat.eps, "images": len(image)}
    kept, spent, clean = {}, {}, left(image)
    for name, run in runs.items():
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = run(image, label).detach()
        spent[name] = time.process_time() - began
        kept[name] = left(allowed(found, image, threat))
    others = [name for name in kept if not name.startswith("ours")]
    kept[PUBLISHED] = np.min([kept[name] for name in others], 0)
    spent[PUBLISHED] = sum(spent[name] for name in others)
    for name, values in kept.items():
        gain = values - kept[OURS]  # how much more than ours the attack leaves
        draws = np.random.default_rng(0).integers(len(gain), size=(2000, len(gain)))
        low, high = np.percentile(gain[draws].mean(1), (2.5, 97.5))
        yield reported(
            **common, attack=name, kept=float(values.mean()), clean=float(clean.mean()), seconds=spent[name],
            more=[float(low), float(high)], stronger=int((gain < -1e-6).sum()), weaker=int((gain > 1e-6).sum()),
        )  # fmt: skip


def allowed(found: Tensor, image: Tensor, threat: ThreatModel) -> Tensor:
    """The images that keep to the radius; the clean ones in place of the others."""
    assert isinstance(threat.eps, float)
    order = torch.inf if threat.norm == "linf" else 2
    size = torch.linalg.vector_norm((found - image).flatten(1), order, 1)
    inside = (
        (size <= threat.eps * (1 + 1e-4)) & (found >= -1e-6).flatten(1).all(1) & (found <= 1 + 1e-6).flatten(1).all(1)
    )
    return torch.where(inside.view(-1, *[1] * (image.ndim - 1)), found, image)


def reported(**row: Any) -> Row:
    print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    return row


# ---- tables


def by_setting(rows: Sequence[Row]) -> dict[tuple[Any, ...], dict[str, Row]]:
    """The rows of every network and radius, by attack."""
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row["network"], row["norm"], row["eps"], row["steps"]), {})[row["attack"]] = row
    return found


def pivoted(rows: list[Row]) -> list[dict[str, str]]:
    """Attacks down, networks and radii across."""
    settings = by_setting(rows)
    names = list(dict.fromkeys(row["attack"] for row in rows))
    first = {"attack": "clean"} | {_head(key): f"{part[OURS]['clean']:.3f}" for key, part in settings.items()}
    return [first] + [
        {"attack": name} | {_head(key): _cell(part.get(name)) for key, part in settings.items()} for name in names
    ]


def _head(key: tuple[Any, ...]) -> str:
    network, norm, eps, steps = key
    size = f"{eps * 255:g} / 255" if network == "polyps" else f"{eps:g}"
    return f"{network}, {'L2 ' if norm == 'l2' else ''}{size}, {steps} gradients"


def _cell(row: Row | None) -> str:
    return "-" if row is None else f"{row['kept']:.3f} ({row['seconds']:.1f} s)"


def lowest(rows: list[Row]) -> Claims:
    """What is left after ours, beside the lowest of the others."""
    settings = by_setting(rows).values()
    gaps = [
        part[OURS]["kept"] - min(row["kept"] for name, row in part.items() if not name.startswith("ours"))
        for part in settings
    ]
    first, above = sum(gap <= 1e-6 for gap in gaps), max(max(gaps), 0)
    yield (
        f"`standard` leaves the least in {first} of {len(gaps)} settings, by up to {max(-min(gaps), 0):.4f}"
        + (f"; elsewhere up to {above:.4f} more than the lowest of the others." if first < len(gaps) else "."),
        above <= LEVEL,
    )


def classification_claims(rows: list[Row]) -> Claims:
    yield from lowest(rows)
    pairs = [(p[OURS]["seconds"], p["torchattacks: AutoAttack"]["seconds"]) for p in by_setting(rows).values()]
    share = max(ours / theirs for ours, theirs in pairs)
    yield f"It takes at most {share:.2f} of AutoAttack's time.", share <= 0.5


def segmentation_claims(rows: list[Row]) -> Claims:
    yield from lowest(rows)
    singles = [
        min(part[f"ours: {member} alone"]["kept"] for member in SINGLE)
        - min(row["kept"] for name, row in part.items() if not name.startswith("ours") and name != PUBLISHED)
        for part in by_setting(rows).values()
    ]
    first, above = sum(gap <= 0 for gap in singles), max(max(singles), 0)
    single = "At equal gradients the better one of its first two members is the lowest single attack"
    where = f"in {first} of {len(singles)} settings"
    if above == 0:
        yield f"{single} {where}.", True
    elif above <= LEVEL:
        yield f"{single}, or within {LEVEL:g} of it: the lowest {where}, at most {above:.4f} above it.", above <= LEVEL
    else:
        yield (
            f"{single} {where} alone; elsewhere it lies up to {above:.4f} above it, which is not level.",
            above > LEVEL,
        )


def part_of(name: str) -> Callable[[Row], bool]:
    return lambda row: bool(row["part"] == name)


TABLES = {
    "classification": Table(pivoted, part_of("classification"), classification_claims),
    **{part: Table(pivoted, part_of(part), segmentation_claims) for part in SEGMENTERS},
    "detection": Table(pivoted, part_of("detection"), lowest),
}
PARTS: dict[str, Callable[[Path, Path | None], Iterator[Row]]] = {
    "classification": classification,
    **{part: partial(segmentation, part) for part in SEGMENTERS},
    "detection": detection,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--networks", default="build/standard_networks", help="folder that the networks are kept in")
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # adv_lib's ALMA prox would look for a compiler
    folder, data = Path(args.networks), Path(os.environ[DATA]) if DATA in os.environ else None
    rows = [{"part": part, **row} for part in args.only for row in PARTS[part](folder, data)]
    if args.save and (without := set(args.only) - {row["part"] for row in rows}):
        parser.error(f"--save {args.save}: nothing was measured for {sorted(without)}.")
    weights = [POLYPS] if "detection" in args.only else []  # the others are made from seeds
    used = [data / "ct", data / "endoscopy"] if data else []
    save(args.save, rows, seeds=[SEEDS["test"]], weights=weights, data=used)


if __name__ == "__main__":
    main()
