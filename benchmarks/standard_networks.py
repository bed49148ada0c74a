"""The networks that `standard.py` attacks: trained anew from a seed, on one thread, and kept in a folder.

Two groups of networks that share nothing but their code. The settings of the plans were chosen on the group `tune`; the
table is of the group `test`: other seeds, another patient, other synthetic images.

    python benchmarks/standard_networks.py FOLDER --group test --dataset_dir CT
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.data import endoscopy_datalist, fitted_frames
from monai_smia.targets.endoscopy import EfficientPyramid
from monai_smia.victims import ClassificationVictim, DetectionVictim, SegmentationVictim

CLASSIFIERS = ("plain", "robust", "saturated", "rounded")
SEGMENTERS = ("lungs", "lungs robust", "four classes", "lungs 3-D", "lungs robust 3-D")
SEEDS = {"tune": 100, "test": 0}
HELD_OUT = {"tune": "normal001", "test": "normal002"}
PATIENTS = ("P001", "cap001", "normal001", "normal002")
ROBUST_EPS = {"robust": 0.15, "lungs robust": 0.03, "lungs robust 3-D": 0.03}
TEMPERATURE = 100  # of the saturated classifier's training
LEVELS = 12  # that the rounded classifier sees


# ---- data


def digits(group: str, count: int = 100) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Digits of 8 x 8 ``(N, 1, 8, 8)`` in [0, 1] and their classes: training, then test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(SEEDS[group]))
    images = torch.tensor(data.images / 16, dtype=torch.float32)[order, None]
    labels = torch.tensor(data.target)[order]
    return images[:1400], labels[:1400], images[1400 : 1400 + count], labels[1400 : 1400 + count]


def volume(folder: Path, name: str, pool: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """A CT ``(1, 1, x, y, z)`` in [0, 1] (-1000 to 400 HU) and its lungs, both averaged over cells of `pool` voxels."""
    import nibabel

    scan, mask = (
        torch.tensor(nibabel.load(folder / f"covidctmd_{name}{part}.nii.gz").get_fdata(dtype="float32"))[None, None]
        for part in ("", "_lung")
    )
    image = F.avg_pool3d(((scan + 1000) / 1400).clamp(0, 1), pool)
    return image, (F.avg_pool3d(mask, pool) > 0.5).long()


def lung_slices(folder: Path, group: str, count: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slices of 64 x 64 with more than a tenth of lung: those of three patients, then `count` of the fourth."""
    parts = []
    for name in sorted(PATIENTS, key=lambda name: name == HELD_OUT[group]):
        image, label = (v[0, 0].permute(2, 0, 1)[:, None] for v in volume(folder, name, (4, 4, 1)))
        wide = label.float().mean((1, 2, 3)) > (0.1 if name == HELD_OUT[group] else 0.02)
        parts.append((image[wide], label[wide]))
    (test, truth), train = parts[-1], parts[:-1]
    chosen = torch.linspace(0, len(test) - 1, count).round().long()
    return torch.cat([i for i, _ in train]), torch.cat([y for _, y in train]), test[chosen], truth[chosen]


def lung_blocks(folder: Path, group: str, count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Blocks of 64 x 64 x 32 of the same patients."""
    parts = []
    for name in sorted(PATIENTS, key=lambda name: name == HELD_OUT[group]):
        image, label = volume(folder, name, (4, 4, 1))
        middle = int(label.sum((0, 1, 2, 3)).cumsum(0).div(label.sum()).sub(0.5).abs().argmin())
        starts = [min(max(middle + step, 0), image.shape[-1] - 32) for step in range(-40, 16, 8)]
        parts.append([(image[..., s : s + 32], label[..., s : s + 32]) for s in starts])
    train = [block for blocks in parts[:-1] for block in blocks]
    test = [parts[-1][round(i)] for i in torch.linspace(1, len(parts[-1]) - 1, count).tolist()]
    return tuple(torch.cat(part) for blocks in (train, test) for part in zip(*blocks, strict=True))  # type: ignore


def textures(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Images ``(N, 1, 64, 64)`` of a flat, a striped and a blotched ellipse on noise, and the four classes' maps."""
    g = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    images, labels = torch.full((count, 64, 64), 0.4), torch.zeros(count, 64, 64, dtype=torch.long)
    for image, label in zip(images, labels, strict=True):
        for value in (1, 2, 3):
            row, column, a, b, turn, phase = torch.rand(6, generator=g).tolist()
            y, x = rows - (12 + 40 * row), columns - (12 + 40 * column)
            u, v = x * (c := torch.tensor(turn * 3).cos()) + y * (s := torch.tensor(turn * 3).sin()), y * c - x * s
            inside = (u / (6 + 6 * a)) ** 2 + (v / (6 + 6 * b)) ** 2 < 1
            blotches = F.interpolate(torch.rand(1, 1, 16, 16, generator=g), (64, 64), mode="bilinear")[0, 0]
            stripes = 0.5 + 0.2 * torch.sin(u * 0.9 + 6 * phase)
            texture = {1: torch.full_like(u, 0.55), 2: stripes, 3: 0.25 + 0.5 * blotches}[value]
            image[inside], label[inside] = texture[inside], value
    noise = torch.randn(images.shape, generator=g) * 0.05
    return (images + noise).clamp(0, 1)[:, None], labels[:, None]


# ---- training


def perturbed(loss: Callable[[Tensor], Tensor], image: Tensor, eps: float, steps: int) -> Tensor:
    """The batch after PGD from a random start, with steps of a third of the radius."""
    eta = (torch.rand_like(image) * 2 - 1) * eps
    for _ in range(steps):
        point = (image + eta).clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point), point)
        eta = (eta + eps / 3 * gradient.sign()).clamp(-eps, eps)
    return (image + eta).clamp(0, 1)


def mirrored(image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """A batch, mirrored and turned by quarters at random, with gray values of another gain and offset."""
    axes = [axis for axis in (2, 3) if torch.rand(()) < 0.5]
    image, label = image.flip(axes), label.flip(axes)
    if torch.rand(()) < 0.5:
        image, label = image.transpose(2, 3), label.transpose(2, 3)
    shape = (len(image), *[1] * (image.ndim - 1))
    gain, offset = 0.8 + 0.4 * torch.rand(shape), 0.1 * torch.randn(shape)
    return (image * gain + offset).clamp(0, 1), label


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Callable[..., Tensor],
    *,
    steps: int,
    batch: int,
    eps: float,
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda image, label: (image, label),
) -> nn.Module:
    """Adam with a cosine; against PGD where `eps` is not 0."""
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = itertools.chain.from_iterable(torch.randperm(len(images)).split(batch) for _ in itertools.count())
    for chosen in itertools.islice(batches, steps):
        image, label = augment(images[chosen], labels[chosen])
        if eps:
            image = perturbed(lambda x, y=label: loss(network(x), y), image, eps, 3)  # type: ignore[misc]
        optimizer.zero_grad()
        loss(network(image), label).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


class Rounded(nn.Module):
    """Rounds the image to a few grey levels: a network without any gradient."""

    def forward(self, image: Tensor) -> Tensor:
        return (image * (LEVELS - 1)).round() / (LEVELS - 1)


def cnn() -> nn.Sequential:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]

    head = [nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*block(1, 32), *block(32, 32), nn.MaxPool2d(2), *block(32, 64), *head)


def classifier(kind: str, group: str, folder: Path) -> tuple[ClassificationVictim, Tensor, Tensor]:
    """A classifier of digits with its test images and labels."""
    images, labels, test, truth = digits(group)
    divisor = TEMPERATURE if kind == "saturated" else 1
    network = nn.Sequential(Rounded(), cnn()) if kind == "rounded" else cnn()

    def train() -> nn.Module:
        torch.manual_seed(SEEDS[group] + CLASSIFIERS.index(kind))
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        loss = lambda logits, y: F.cross_entropy(logits / divisor, y)  # noqa: E731
        return fit(network, images, labels, loss, steps=420, batch=100, eps=ROBUST_EPS.get(kind, 0))

    return ClassificationVictim(_kept(network, train, folder / f"{group}_{kind}.pt")), test, truth


def segmenter(kind: str, group: str, folder: Path, ct: Path | None) -> tuple[SegmentationVictim, Tensor, Tensor]:
    """A segmentation network with its test images and labels; lungs need `ct`, a folder of CT volumes."""
    volumetric = kind.endswith("3-D")
    if kind == "four classes":
        (images, labels), (test, truth) = textures(SEEDS[group] + 1, 300), textures(SEEDS[group] + 2, 8)
    else:
        if ct is None:
            raise SystemExit(f"{kind!r} needs --dataset_dir, the folder of the CT volumes.")
        images, labels, test, truth = (lung_blocks if volumetric else lung_slices)(ct, group)
    size, classes = (3 if volumetric else 2), int(labels.max()) + 1
    torch.manual_seed(SEEDS[group] + 10 + SEGMENTERS.index(kind))
    channels = (8, 16, 32) if volumetric else (8, 16, 32, 64)
    network = UNet(size, 1, classes, channels, (2,) * (len(channels) - 1), num_res_units=1)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)

    def train() -> nn.Module:
        eps, batch = ROBUST_EPS.get(kind, 0), 2 if volumetric else 16
        steps = (360 if eps else 120) if volumetric else 600 if eps else 1000
        return fit(network, images, labels, loss, steps=steps, batch=batch, eps=eps, augment=mirrored)

    network = _kept(network, train, folder / f"{group}_{kind}.pt")
    inferer = SlidingWindowInferer(32, overlap=0.5, mode="gaussian") if volumetric else None
    return SegmentationVictim(network, inferer=inferer), test, truth


def detector_and_frames(
    weights: Path, endoscopy: Path, folder: Path, count: int = 5
) -> tuple[DetectionVictim, list[Any]]:
    """The polyp detector that the endoscopy bundle ships, and test frames of which it finds every polyp."""
    network = RetinaNet(2, 1, 1, EfficientPyramid(out_channels=64), size_divisible=64).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    anchors = AnchorGenerator(sizes=((32,), (64,), (128,), (256,)), aspect_ratios=((1.0,),) * 4)
    victim, found = DetectionVictim(network, anchors=anchors), []
    items = endoscopy_datalist(str(endoscopy), classes=["polyp"], split="test")
    for item in fitted_frames(items, str(folder / "frames"), size=(320, 256)):
        pixels = np.asarray(Image.open(item["image"]).convert("RGB"), dtype=np.float32) / 255
        frame = torch.from_numpy(pixels).permute(2, 1, 0)[None]
        boxes, labels = (torch.as_tensor(item["label"][key]) for key in ("boxes", "labels"))
        label = [{"boxes": boxes.float().reshape(-1, 4), "labels": labels.long()}]
        if len(boxes) and float(victim.damage(victim.infer(frame), label)) == 0:
            found.append((frame, label))
        if len(found) == count:
            break
    return victim, found


def _kept(network: nn.Module, train: Callable[[], nn.Module], path: Path) -> nn.Module:
    """The network with the weights of a file, which is written where it is not there."""
    if not path.exists():
        began = time.process_time()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(train().state_dict(), path)
        print(f"trained {path.name} in {time.process_time() - began:.0f} s", flush=True)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--group", choices=SEEDS, default="test")
    parser.add_argument("--dataset_dir", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    makers = [lambda k=kind: classifier(k, args.group, args.folder) for kind in CLASSIFIERS]
    makers += [lambda k=kind: segmenter(k, args.group, args.folder, args.dataset_dir) for kind in SEGMENTERS]
    for kind, make in zip((*CLASSIFIERS, *SEGMENTERS), makers, strict=True):
        victim, image, label = make()
        damage = torch.cat([victim.damage(victim.infer(i[None]), y[None]) for i, y in zip(image, label, strict=True)])
        print(f"{kind}: {len(image)} images {tuple(image.shape[1:])}, {1 - float(damage.mean()):.3f}", flush=True)


if __name__ == "__main__":
    main()
