"""Options that commands of ``python -m monai_smia`` share; nothing slow is imported."""

from __future__ import annotations

from typing import Any


def add_attacks(add: Any) -> None:
    """Options of attacks that know the network."""
    add("--gradients", type=int, help="of the first strong attack, in the last round")
    add("--steps", type=int, default=10, help="of the paper's attacks (default: %(default)s)")
    add("--attacks", nargs="+", dest="only", metavar="NAME", help="to run, such as Noise PGD APGD; without it all")
    add("--volumes", nargs="+", help="down, up: attacks on the volume that is segmented")


def add_range(add: Any) -> None:
    """The valid range."""
    add("--clip", nargs=2, type=float, metavar=("LOW", "HIGH"), help="valid range; without it that of every file")


def add_shared(add: Any) -> None:
    """Options of every evaluation."""
    add("--accept", help="criteria of your own, such as 'jaccard >= 0.80 at 28 HU'; exit status 3 where one is not met")
    add("--write_volumes", default="worst", help="adversarial images that stay: worst (default), all, none")
    add("--tracking", nargs="+", metavar="NAME", help="mlflow, tensorboard, wandb: figures of every case as it ends, "
        "into the output folder; nothing is sent")  # fmt: skip
    add("--restart", action="store_false", dest="resume", help="start anew, and not from what the folder holds")
    add("--retry_failed", action="store_true", help="try cases again that have failed before")
    add("--limit", type=int, help="the first cases only")
    add("--seed", type=int, default=0, help="of all attacks (default: %(default)s)")


def add_product(add: Any, output_dir: str, images: str = "--images") -> None:
    """Options of a test of a product."""
    add(images, nargs="+", required=True, dest="images", help="NIfTI files, or folders of those or of DICOM series")
    add("--labels", help="folder of label maps CASE.nii.gz, of a finding a CSV of image,label; without it the answer "
        "to the clean image is the reference")  # fmt: skip
    add("--read", metavar="KEY", help="answers say something of the whole image: where it stands, of JSON a.b.c, of a "
        "structured report the code or meaning of its concept")  # fmt: skip
    add("--threshold", type=float, help="the reader's, of the number that --read finds: class 1 from it on")
    add("--below", action="store_true", help="class 1 is decided below the threshold")
    add("--rois", nargs="+", metavar="NAME", help="of an RTSTRUCT, its regions for the classes from 1 on")
    add("--timeout", type=float, default=600.0, help="seconds that one answer may take (default: %(default)s)")
    add("--output_dir", default=output_dir, help="where to write (default: %(default)s)")
    add("--eps", nargs="+", default=["20"], help="radius in the unit of the images, or several (default: 20)")
    add("--preset", default="blackbox", help="blackbox (default), or shifts: how images are taken")
    add("--queries", type=int, default=200, help="of every attack and case (default: %(default)s)")
    add("--transfer", nargs="+", metavar="BUNDLE", help="attacks are made on these, too, and transferred: a shipped "
        "bundle's name, or the folder of one with a victim in its attack_eval.yaml")  # fmt: skip
    add(
        "--distil",
        type=int,
        default=0,
        metavar="N",
        help="train a surrogate on N of the product's answers, and transfer",
    )
    add("--modality", help="of the preset shifts: ct (default where the unit is HU), mri, any, ...")
    add(
        "--shifts",
        nargs="+",
        metavar="NAME",
        help="of the preset shifts: those to run, or all; else the usual ones",
    )
    add("--severity", nargs="+", type=int, help="of shifts, 1 to 5 or several: how far they reach (default: 3)")
    add("--draws", type=int, help="of every shift and case, at random (default: 20)")
    add("--most_queries", type=int, help="that the product may be asked in all, earlier runs included")
    add("--repeats", type=int, default=2, help="how often the first clean image is asked about (default: %(default)s)")
    add("--attacks", nargs="+", dest="only", metavar="NAME", help="attacks to run; without it all of the preset")
    add("--classes", type=int, default=2, help="of the answers, with the background (default: %(default)s)")
    add("--class_names", nargs="+", help="their names, the background's included")
    add_range(add)
    add("--unit", default="HU", help="of the images, for tables (default: %(default)s)")
    add("--name", default="product", help="of the product, for the page")
    add("--identified", action="store_true", help="derive from series that do not say that they are de-identified")
    add_shared(add)


def add_evidence(commands: Any) -> tuple[Any, Any]:
    """The commands ``evidence`` and ``verify``."""
    evidence = commands.add_parser("evidence", help="pack a finished evaluation with the hashes of all its files")
    evidence.add_argument("folder", metavar="FOLDER", help="output folder of the evaluation")
    evidence.add_argument("--zip", help="where to write (default: evidence.zip in the folder)")
    evidence.add_argument("--key", help="PEM file of an Ed25519 private key to sign with; extra `sign`")
    verify = commands.add_parser(
        "verify",
        help="check evidence: every hash, what follows from the records, and some rows computed again",
        description="What lies elsewhere on this machine follows as options of the recorded command, such as "
        "--dataset_dir or --bundle_root of a bundle, --model and --images of run, --command of blackbox. "
        "Exit status: 0 nothing differs, 3 something does, 1 it cannot be told in full.",
    )
    add = verify.add_argument
    add("evidence", metavar="EVIDENCE", help="output folder of an evaluation, or its zip")
    add("--public_key", help="PEM file of the Ed25519 key that it must be signed by")
    add("--rows", type=int, default=3, help="rows to compute again, drawn at random; 0 for none (default: %(default)s)")
    add("--seed", type=int, help="of the draw; without it one that nobody knew before")
    add(
        "--trusted",
        action="store_true",
        help="run what the recorded command names: code in overrides, a product, scripts",
    )
    return evidence, verify
