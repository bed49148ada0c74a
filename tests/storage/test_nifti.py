from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_smia.files import MARK
from monai_smia.storage import NiftiStorage
from monai_smia.storage.nifti import stored_difference


def source_file(folder: Path, dtype: type, slope: float = 1.0, inter: float = 0.0) -> str:
    values = np.random.default_rng(0).integers(50, 150, (5, 6, 7)).astype(dtype)
    image = nib.Nifti1Image(values, np.diag([-1.5, 1.2, 2.0, 1.0]))
    image.header.set_slope_inter(slope, inter)
    path = folder / "ct.nii.gz"
    nib.save(image, path)
    return str(path)


@pytest.mark.parametrize(
    ("dtype", "slope", "inter"), [(np.int16, 1, 0), (np.int16, 0.5, -3), (np.uint8, 2, 5), (np.uint16, 1, -1024)]
)
@pytest.mark.parametrize("eps", [2.0, 3.3, 7.0])
def test_integers_obey_eps_exactly(tmp_path: Path, dtype: type, slope: float, inter: float, eps: float) -> None:
    source = source_file(tmp_path, dtype, slope, inter)
    before = Path(source).read_bytes()
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(source)
    adversarial = image + (torch.rand(image.shape) * 2 - 1) * eps
    path = storage.write(image, adversarial, eps=eps, source=source, stem="ct_bim")

    written, original = (nib.Nifti1Image.from_filename(p) for p in (path, source))
    units = written.dataobj.get_unscaled().astype(int) - original.dataobj.get_unscaled().astype(int)
    assert np.abs(units).max() * slope <= eps
    assert stored_difference(path, source) <= eps
    assert written.get_data_dtype() == dtype
    assert np.array_equal(written.affine, original.affine)
    assert written.dataobj.slope == slope
    assert bytes(written.header["descrip"].tobytes()).startswith(MARK.encode())
    assert (storage.read(path) - adversarial).abs().max() <= max(slope / 2, eps % slope + slope / 2) + 1e-4
    change = nib.load(str(path).replace("_adversarial", "_perturbation")).get_fdata()
    assert np.allclose(change, written.get_fdata() - original.get_fdata())
    assert Path(source).read_bytes() == before


def test_saturates_at_the_data_type(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.full((4, 4, 4), 254, np.uint8), np.eye(4))
    source = str(tmp_path / "u8.nii.gz")
    nib.save(image, source)
    storage = NiftiStorage(tmp_path / "out")
    clean = storage.read(source)
    path = storage.write(clean, clean + 5, eps=5.0, source=source, stem="u8")
    assert storage.read(path).unique().tolist() == [255.0]


def test_floating_point_source(tmp_path: Path) -> None:
    source = source_file(tmp_path, np.float32)
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(source)
    adversarial = image + 0.25
    path = storage.write(image, adversarial, eps=0.25, source=source, stem="ct")
    assert torch.equal(storage.read(path).as_tensor(), adversarial.as_tensor())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("eps", [0.1, 1.7, 20.0])
def test_floating_point_files_obey_eps_exactly(tmp_path: Path, dtype: type, eps: float) -> None:
    """Rounding a sum to the file's precision may leave the radius by an ulp: such a voxel goes one back."""
    values = np.random.default_rng(0).normal(0, 700, (20, 20, 20)).astype(dtype)
    source = str(tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(values, np.eye(4)), source)
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(source)
    path = storage.write(image, image + eps * torch.sign(torch.randn(image.shape)), eps=eps, source=source, stem="ct")
    difference = np.asarray(nib.load(path).dataobj, np.float64) - np.asarray(nib.load(source).dataobj, np.float64)
    assert np.abs(difference).max() <= eps
    assert np.abs(difference).min() > 0.99 * eps


def test_off_the_source_grid(tmp_path: Path) -> None:
    source = source_file(tmp_path, np.int16)
    storage = NiftiStorage(tmp_path / "out")
    small = storage.read(source)[:, :3]
    with pytest.raises(ValueError, match="like_source=False"):
        storage.write(small, small, eps=2.0, source=source, stem="ct")
    free = NiftiStorage(tmp_path / "out", like_source=False)
    path = free.write(small, small + 0.3, eps=0.3, source=source, stem="ct")
    assert torch.equal(free.read(path).as_tensor(), (small + 0.3).as_tensor())
    assert torch.equal(free.read(path).affine, small.affine)


@pytest.mark.parametrize("like_source", [True, False])
def test_several_channels(tmp_path: Path, like_source: bool) -> None:
    values = np.random.default_rng(0).integers(50, 150, (5, 6, 7, 3)).astype(np.int16)
    source = str(tmp_path / "mr.nii.gz")
    nib.save(nib.Nifti1Image(values, np.diag([-1.5, 1.2, 2.0, 1.0])), source)
    storage = NiftiStorage(tmp_path / "out", like_source=like_source)
    image = storage.read(source)
    assert image.shape == (3, 5, 6, 7)
    adversarial = image + torch.tensor([1.0, -2.0, 0.4]).view(3, 1, 1, 1)
    again = storage.read(storage.write(image, adversarial, eps=2.0, source=source, stem="mr"))
    expected = torch.tensor([1.0, -2.0, 0.0 if like_source else 0.4])
    assert torch.allclose((again - image).as_tensor(), expected.view(3, 1, 1, 1).expand(3, 5, 6, 7), atol=1e-4)
    with pytest.raises(ValueError, match="three dimensions and channels"):
        storage.write(image[..., 0], image[..., 0], eps=2.0, source=source, stem="mr")


@pytest.mark.parametrize(("dtype", "slope"), [(np.int16, 1.0), (np.int16, 0.3), (np.uint8, 2.0), (np.float32, 1.0)])
@pytest.mark.parametrize("seed", range(5))
def test_the_l2_norm_holds_after_storage(tmp_path: Path, dtype: type, slope: float, seed: int) -> None:
    source = source_file(tmp_path, dtype, slope)
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(source)
    delta = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)) * 0.6
    eps = float(delta.double().norm())
    path = storage.write(image, image + delta, eps=eps, source=source, stem="ct", norm="l2")
    change = np.asarray(nib.load(path).dataobj, np.float64) - np.asarray(nib.load(source).dataobj, np.float64)
    assert 0 < np.linalg.norm(change) <= eps * (1 + 1e-7)  # the header holds the slope in float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_that_lie_on_the_sphere_stay(tmp_path: Path, dtype: type) -> None:
    """A perturbation of 3 and -4 is 5 long, in every bit."""
    source = source_file(tmp_path, dtype)
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(source)
    delta = torch.zeros_like(image)
    delta[0, 0, 0, :2] = torch.tensor([3.0, -4.0])
    path = storage.write(image, image + delta, eps=5.0, source=source, stem="ct", norm="l2")
    assert torch.equal((storage.read(path) - image).as_tensor(), delta.as_tensor())


def test_eight_voxels_of_six_tenths(tmp_path: Path) -> None:
    """Rounded all to one they are 2.83 long, and the radius is 1.70: two remain."""
    source = str(tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), source)
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(source)
    path = storage.write(image, image + 0.6, eps=1.697, source=source, stem="a", norm="l2")
    assert float(storage.read(path).as_tensor().norm()) == pytest.approx(2**0.5)


def test_a_header_is_written_anew(tmp_path: Path) -> None:
    """Grid, data type and unit stay; what else a header says is somebody's text."""
    source = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([-0.7, 0.8, 2.5, 1]))
    source.set_qform(np.diag([-0.7, 0.8, 2.5, 1]), 1)
    for name in ("descrip", "db_name", "aux_file", "intent_name", "data_type"):
        source.header[name] = b"XMARKX"
    source.header.set_xyzt_units("mm", "sec")
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"XMARKX of a patient"))
    nib.save(source, tmp_path / "ct.nii")
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(tmp_path / "ct.nii")
    path = storage.write(image, image + 3, eps=3.0, source=str(tmp_path / "ct.nii"), stem="a")
    written = nib.load(path)
    for file in path.parent.iterdir():
        assert b"XMARKX" not in gzip.decompress(file.read_bytes())
    assert written.header.get_xyzt_units() == ("mm", "sec")
    assert [int(written.header[name]) for name in ("qform_code", "sform_code")] == [1, 2]
    assert np.allclose(written.affine, source.affine)
    assert np.allclose(written.get_qform(), source.get_qform())


@pytest.mark.parametrize("levels", [1, 2, 7, 8, 129])
def test_a_slope_in_float32_holds_as_many_units_as_are_asked_for(levels: int, tmp_path: Path) -> None:
    """1/255 in a header is a little more, and 8/255 held seven of them."""
    source = nib.Nifti1Image(np.full((3, 3, 3), 100, np.uint8), np.eye(4))
    source.header.set_slope_inter(1 / 255, 0)
    nib.save(source, tmp_path / "a.nii")
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(tmp_path / "a.nii")
    eps = levels / 255
    path = storage.write(image, image + 1.0, eps=eps, source=str(tmp_path / "a.nii"), stem="a")
    raw = np.asarray(nib.load(path).dataobj.get_unscaled(), int)
    assert set((raw - 100).ravel()) == {levels}
