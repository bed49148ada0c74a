"""A command that segments lungs: something to try a black-box test on.

    python examples/segmentation_command.py INPUT OUTPUT
    python -m monai_smia blackbox --command 'python examples/segmentation_command.py {input} {output}' --images FOLDER

INPUT is a NIfTI file or the folder of a CT series. OUTPUT is a NIfTI file, or a folder for the DICOM SEG of a series
(``{output_folder}``; needs highdicom: pip install 'monai_smia[dicom]'). The model is the lung segmentation of this
repository, or the bundle of --bundle, of the same layout.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureChannelFirst, LoadImage

from monai_smia.dicom import DicomSeriesReader, read_dicom_series

BUNDLE = Path(__file__).parents[1] / "bundles" / "ct_lung_segmentation"


def segment(source: Path, bundle: Path) -> tuple[np.ndarray, np.ndarray]:
    """The mask of a file or series, by the bundle's own network, inferer and preprocessing, and its affine."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "attack_eval.yaml"))
    parser["bundle_root"] = str(bundle)
    parser.get_parsed_content("initialize")
    victim = parser.get_parsed_content("victim")
    reader = DicomSeriesReader() if source.is_dir() else None
    image = Compose([LoadImage(reader=reader, image_only=True), EnsureChannelFirst()])(source)
    mask = np.asarray(victim.decide(victim.infer(image[None]))[0, 0].cpu(), dtype=np.uint8)
    return mask, np.asarray(image.affine)


def write_seg(source: Path, mask: np.ndarray, path: Path) -> None:
    """The DICOM SEG of a series."""
    from monai_smia.dicom.seg_writer import segmentation_of

    by = {"algorithm": "ct_lung_segmentation", "version": "0.3.0", "adversarial": False}
    segmentation_of(read_dicom_series(source), mask, ["Lungs"], **by).save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("input", type=Path)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--bundle", type=Path, default=BUNDLE)
    options = arguments.parse_args()
    mask, affine = segment(options.input, options.bundle)
    if options.output.is_dir():
        write_seg(options.input, mask, options.output / "lungs.dcm")
    else:
        nib.save(nib.Nifti1Image(mask, affine), options.output)
