"""Data: dataset layouts, label repairs, and phantoms for where there is no dataset."""

from __future__ import annotations

from monai_smia.data.ct_labels import DropFreeAird
from monai_smia.data.ct_layouts import ct_datalist
from monai_smia.data.ct_phantom import ThoraxPhantom, thorax_phantom, write_ct_phantoms

__all__ = ["DropFreeAird", "ThoraxPhantom", "ct_datalist", "thorax_phantom", "write_ct_phantoms"]
