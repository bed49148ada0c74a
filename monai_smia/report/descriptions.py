"""The metrics of a report, each in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.report.document import ReportContent
from monai_smia.report.summary_table import shown_metrics

METRIC_DESCRIPTIONS = {
    "agreement": "share of voxels, boxes, labels or numbers that the twin, which gradients come from, decides as the "
    "deployed pipeline on the clean image",
    "accuracy": "share of right decisions; of a segmentation the mean over classes of the share of voxels found",
    "auc": "area under the ROC curve, mean over classes",
    "cos": "percentage of consecutive steps of the attack that point the same way",
    "damage": "what the attack has broken: wrong decision, 1 - Jaccard, or share of objects no longer found (1: all)",
    "dice": "overlap with the reference, twice the intersection over the sum (1: the same), as jaccard",
    "ece": "expected calibration error: mean gap between the probability of a decision and the share of such decisions "
    "that are right (0: none), over 15 bins; too high where cases are few",
    "ead": "score of the EAD challenge, .6 mAP + .4 IoU, of the two as they are defined here",
    "error_max": "largest error of a case's predicted numbers (distance, of points), in their own unit",
    "error_mean": "mean error of a case's predicted numbers (of landmarks: mean radial error), in their own unit",
    "fpr": "share of healthy cases that are called diseased",
    "fpr_macro": "share of other classes' cases that are called this one, mean over classes",
    "hd95": "95th percentile of the distance between the two surfaces, in mm (pixels without a spacing); the image's "
    "diagonal for a class that only one of decision and reference holds",
    "invented_ml": "volume decided as foreground where the reference holds none, in milliliters",
    "invented_voxels": "voxels decided as foreground where the reference holds none",
    "invented": "boxes that find no object, a case",
    "false_lesions": "separate parts of a case's decision of which the reference covers less than the share asked for",
    "lesion_sensitivity": "share of a case's lesions (parts of the reference) covered by at least the share asked for",
    "iou": "mean over objects of the overlap with the best box of their class, each box for one object",
    "jaccard": "overlap with the reference, intersection over union (1: the same), mean over the classes that decision "
    "or reference hold (1 where neither holds one)",
    "kappa": "quadratic weighted kappa, agreement with the reference beyond chance (1: complete)",
    "linf": "largest change of a voxel, in the image's unit",
    "map": "average precision, mean over classes and over IoU thresholds from .5 to .95",
    "map50": "average precision at an IoU of .5, mean over classes",
    "missed": "share of a case's objects that no box finds (overlap at least .5, one box an object)",
    "psnr": "peak signal-to-noise ratio to the clean image, in dB",
    "rms": "root mean square of the perturbation over the radius",
    "share_right": "share of a case's predicted numbers that are at most as far off as counts as right (of landmarks: "
    "success detection rate)",
    "ssim": "structural similarity to the clean image (1: the same)",
    "unresolved": "share of the perturbation, by its square, that the precision of the attack's network rounds away",
    "var": "variance of the perturbation over the squared radius",
}

KIND_DESCRIPTIONS = {
    "answer": "the number that the product answers with (change: minus that of the clean image)",
    "eps_file": "the radius in the unit of the files, mean over cases (of channel 2: _2)",
    "linf_file": "largest change of a voxel in the unit of the files, mean over cases (of channel 2: _2)",
    "surface_dice_": "share of the edge voxels of decision and reference that lie within this distance of the other's "
    "edge, 0 of a class that only one of them holds",
    "over_": "share of cases whose volume is above this threshold; wrong: of those where that of the reference is not "
    "alike; changed: of those where that of the decision on the clean image is not",
    "volume_reference_": "volume of the reference",
    "volume_error_": "volume of the decision minus that of the reference",
    "volume_change_percent": "change of volume in per cent of the clean decision's",
    "volume_change_": "volume of the decision minus that of the decision on the clean image",
    "volume_": "volume of the decision (ml: milliliters)",
    "cv_volume_": "coefficient of variation over cases of a change of volume: standard deviation over the mean's size",
    "unseen": "damage under other prompts than the case's, to the clean decision under the same prompt, mean and each",
}


def metric_descriptions(content: ReportContent, others: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The metrics that a reader meets, with what they are, of those that are known here.

    Args:
        content: of the report.
        others: metrics beside those of the table of attacks.
    """
    named = [content.primary.case_metric, *shown_metrics(content.rows), *others]
    found = [(name, METRIC_DESCRIPTIONS.get(name) or _description_of_kind(name)) for name in dict.fromkeys(named)]
    return [(name, text) for name, text in found if text]


def _description_of_kind(name: str) -> str:
    """The description of metrics whose name says a number of the user's."""
    return next((text for start, text in KIND_DESCRIPTIONS.items() if name.startswith(start)), "")
