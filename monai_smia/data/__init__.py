"""Where data comes from: layouts of datasets on disk, and phantoms when there is none."""

from __future__ import annotations

from monai_smia.data.ct_labels import DropFreeAird
from monai_smia.data.ct_layouts import ct_datalist
from monai_smia.data.ct_phantom import ThoraxPhantom, thorax_phantom, write_ct_phantoms

__all__ = ["DropFreeAird", "ThoraxPhantom", "ct_datalist", "thorax_phantom", "write_ct_phantoms"]
