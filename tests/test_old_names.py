"""Names of version 0.1.0: where they are now, found from where they were, with a warning where that place goes."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest
from monai.bundle import ConfigParser

import monai_smia.data
from monai_smia.adapters.monai_bundle import overlay_path

DEGRADATIONS = ("AddNoise", "Box", "Compress", "Median", "Resample", "Smooth")
NETWORKS = {
    "ct_lung": ("fold_temperature",),
    "endoscopy": ("BoosterPyramid", "MultiScaleBooster"),
    "fundus": ("GradingLoss", "GraphConvolution", "LesionSupervision", "ResNetGCN", "normalized_adjacency"),
}
TRANSFORMS = {
    "endoscopy": ("BoxTensorsd", "FitFramed", "RandFramed", "collate_frames"),
    "fundus": ("LocalContrast", "LocalContrastd", "RandPaintLesionsd"),
}
# "module.name" of 0.1.0 -> "module.name" of today
MOVED = {
    **{f"handling.{name}": f"degradations.{name}" for name in DEGRADATIONS},
    "handling.Handling": "degradations.Degradation",
    "handling.Quantise": "degradations.Quantize",
    "handling.Untouched": "degradations.Identity",
    **{f"networks.{name}": f"targets.{target}.{name}" for target, names in NETWORKS.items() for name in names},
    **{f"transforms.{name}": f"targets.{target}.{name}" for target, names in TRANSFORMS.items() for name in names},
    **{f"transforms.ApplyHandling{end}": f"transforms.ApplyDegradation{end}" for end in ("", "D", "d", "Dict")},
    "transforms.RandColord": "targets.fundus.random_color",
    **{
        f"bundle.{name}": f"adapters.monai_bundle.{name}"
        for name in ("bundle_evaluation", "check_configs", "overlay_path")
    },
    **{f"evaluation.{name}": f"storage.{name}" for name in ("DicomStorage", "NiftiStorage", "PngStorage")},
    **{
        f"evaluation.{name}": f"report.figures.{name}"
        for name in ("detection_figure", "photograph_figure", "segmentation_figure")
    },
    "attacks.OnNetworkGrid": "attacks.NetworkSpaceAttack",
    "smoothing.gaussian_taps": "degradations.smoothing.gaussian_taps",
    "smoothing.smooth": "degradations.smoothing.smooth",
    "inferers.wanted_within": "inferers.restrict_gradient",
}
DATA = """
    ArtefactFrame DicomPicture DicomPictureReader DicomSeries DicomSeriesError DicomSeriesReader DropFreeAird
    EAD_CLASSES FundusPhantom GradeSampler LoadFramed LoadPhotograph LoadPhotographd LoadPictured MARK RandBowelGasd
    ThoraxPhantom add_artefacts add_polyps ct_datalist ct_files draw_lesions endoscopy_datalist find_dicom_series
    fitted_frames fundus_datalist fundus_phantom grade_weights mucosa picture_items read_dicom_picture read_dicom_series
    scanned_voxels suppress_highlights thorax_phantom tissue_field write_artefact_frames write_ct_phantoms
    write_dicom_picture write_dicom_series write_fundus_phantoms write_polyp_frames
"""


def look_up(path: str) -> object:
    module, _, name = f"monai_smia.{path}".rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_new_one_with_a_warning(old: str, new: str) -> None:
    name = new.rpartition(".")[2]
    with pytest.warns(
        DeprecationWarning, match=rf"monai_smia\.{old} is deprecated .* 0\.3: use monai_smia\..*\b{name}"
    ):
        found = look_up(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found is look_up(new)


def test_the_names_of_data_stay() -> None:
    """Configs of others use them; nothing warns."""
    assert sorted(DATA.split()) == monai_smia.data.__all__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [name for name in DATA.split() if look_up(f"data.{name}") is None] == []


def test_configs_find_old_names() -> None:
    parser = ConfigParser({"overlay": {"_target_": "monai_smia.bundle.overlay_path"}})
    with pytest.warns(DeprecationWarning, match=r"use monai_smia\.adapters\.monai_bundle\.overlay_path"):
        assert parser.get_parsed_content("overlay") == overlay_path()


@pytest.mark.parametrize("module", ["attacks", "bundle", "data", "evaluation", "handling", "networks", "transforms"])
def test_what_never_was_is_an_attribute_error(module: str) -> None:
    with pytest.raises(AttributeError, match=f"'monai_smia.{module}' has no attribute 'Nothing'"):
        look_up(f"{module}.Nothing")


@pytest.mark.parametrize("module", ["bundle", "data", "handling", "networks", "smoothing"])
def test_a_facade_imports_nothing_before_it_is_asked(module: str) -> None:
    code = f"import sys, monai_smia.{module}; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
