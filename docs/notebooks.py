"""Runs the notebooks of docs/notebooks anew, outputs and all: python docs/notebooks.py [NAME ...]  # extra `docs`"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent / "notebooks").glob("*.ipynb"))


def main() -> None:
    """Run each in the root of the repository, and keep what it printed and drew; no times, no paths."""
    for path in (path for path in NOTEBOOKS if path.stem in (sys.argv[1:] or path.stem)):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(path.parents[2])}}).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":  # what a kernel without widgets says of itself is no output
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
