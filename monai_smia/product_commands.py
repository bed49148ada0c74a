"""The commands ``blackbox`` and ``node``: products of which answers alone are known; nothing slow is imported."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from monai_smia.commands import evaluated
from monai_smia.options import add_product

OWN = ("timeout", "retries", "per_minute", "send_to", "receive_as", "watch", "dicomweb")
ANSWERS = ("read", "threshold", "below", "rois", "class_names")


def add_product_commands(commands: Any) -> None:
    """Both commands; values are checked by the products and `product_evaluation`."""
    blackbox = commands.add_parser("blackbox", help="evaluate a product under attack, of which answers alone are known")
    add = blackbox.add_argument
    add("--command", required=True, dest="product", help="program and arguments, with {input} and {output}; no shell")
    add("--jobs", type=int, default=1, help="queries at once, where several are known beforehand (--distil)")
    add_product(add, "blackbox")
    blackbox.set_defaults(command=evaluated, build=_blackbox)

    node = commands.add_parser("node", help="the same of a product that is asked by DICOM: series out, results in")
    add = node.add_argument
    add("--send-to", metavar="AE@HOST:PORT", help="the product, a DICOM node that takes series by C-STORE")
    add("--receive-as", metavar="AE:PORT", help="where it sends its results; loopback without a host")
    add("--watch", metavar="FOLDER", help="folder that results are written into, in the place of --receive-as")
    add("--dicomweb", metavar="URL", help="a DICOMweb service that the product works on, in the place of --send-to")
    add("--retries", type=int, default=2, help="how often sending is tried again (default: %(default)s)")
    add("--per_minute", type=float, help="queries a minute, at most")
    add("--dry_run", action="store_true", help="send one series unchanged, and show what came back")
    add_product(add, "node", "--series")
    node.set_defaults(command=_node)


def _blackbox(*, product: str, timeout: float, **arguments: Any) -> Any:
    from monai_smia.adapters.product import Command, product_evaluation

    found = _shifts(arguments)
    try:
        words = tuple(shlex.split(product))
    except ValueError as error:  # a quote that is not closed
        raise ValueError(f"command cannot be taken apart: {error}, got {product!r}.") from None
    command = Command(words, timeout=timeout, answers=_answers(found))
    return product_evaluation(command, **found)


def _node(options: argparse.Namespace) -> int:
    from monai_smia.adapters.product import dry_run, product_evaluation

    nodes: list[Any] = []

    def build(**arguments: Any) -> Any:
        found = _shifts(arguments)
        answers = _answers(found)
        nodes.append(_sender({name: found.pop(name) for name in OWN}, answers))
        if not found.pop("dry_run"):
            return product_evaluation(nodes[0], **found)
        print(*dry_run(nodes[0], found["images"], found["classes"], identified=found["identified"]), sep="\n")
        return None

    try:
        return evaluated(options, build)
    finally:
        for node in nodes:
            node.close()


def _shifts(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, those of shifts in one."""
    found = dict(arguments)
    given = {name: found.pop(name) for name in ("modality", "severity", "draws")} | {"only": found.pop("shifts")}
    return {**found, "shifts": {name: value for name, value in given.items() if value is not None}}


def _answers(arguments: dict[str, Any]) -> Any:
    """What answers are, by the options; those are taken out, but for the names of a mask's classes."""
    from monai_smia.adapters.product import Finding, Masks

    read, threshold, below, rois, names = (arguments.pop(name) for name in ANSWERS)
    if read is None:
        if threshold is not None or below:
            raise ValueError("threshold and below say how a finding is read: say with --read where it stands.")
        arguments["class_names"] = names
        return Masks(None if rois is None else tuple(rois))
    if rois is not None:
        raise ValueError("rois are regions of an RTSTRUCT, and --read is of a finding: give one of the two.")
    return Finding(read, threshold, below, None if names is None else tuple(names))


def _sender(own: dict[str, Any], answers: Any) -> Any:
    """The product that is asked by DICOM."""
    from monai_smia.adapters.product import DicomNode, DicomWeb

    url, node = own.pop("dicomweb"), {name: own.pop(name) for name in ("send_to", "receive_as", "watch")}
    if (url is None) == (node["send_to"] is None):
        raise ValueError("the product is a node (--send-to) or behind DICOMweb (--dicomweb): give one of the two.")
    if url is None:
        return DicomNode(**node, **own, answers=answers)
    if given := [f"--{name.replace('_', '-')}" for name, value in node.items() if value is not None]:
        raise ValueError(f"{', '.join(given)} is of a node: results of DICOMweb are looked for where they are stored.")
    return DicomWeb(url, **own, answers=answers)
