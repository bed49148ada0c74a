"""Components that several configs of a bundle share, described in one of them."""

from __future__ import annotations

import os
from typing import Any

from monai.bundle import ConfigParser


def part_of(config: str | os.PathLike[str], part: str, **given: Any) -> Any:
    """A component of another config, built as that config says it.

    MONAI has a macro for this, ``%configs/inference.yaml::network_def``. It looks for the file in the working directory
    alone, and it is a text, into which no ``--network_def#channels`` reaches. A component takes its file from
    ``bundle_root``, and what such an override adds to it arrives here.

    Args:
        config: the file, as ``$@bundle_root + '/configs/inference.yaml'``.
        part: id of the component in it.
        **given: arguments of the component, in place of those in the file; a name that the component has not, but the
            file has as an id, replaces what is referred to by that id.

    Returns:
        The instance; of a list, the list of instances.

    Raises:
        KeyError: if `config` has no `part`, or a part that is a list is given what the file does not have.

    Example:
        >>> import json, tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        ...     scale = {"_target_": "ScaleIntensity", "minv": "@low", "maxv": 1.0}
        ...     json.dump({"low": 0.0, "scale": scale}, file)
        ...     file.flush()
        ...     built = part_of(file.name, "scale", low=-1.0, maxv=2.0)
        >>> built.minv, built.maxv
        (-1.0, 2.0)
    """
    content = ConfigParser.load_config_file(config)
    parser = ConfigParser(content)
    if part not in parser:
        raise KeyError(f"part must be one of {sorted(content)} of {config}, got {part!r}.")
    component = parser[part]
    for name, value in given.items():
        argument = isinstance(component, dict) and (name in component or name not in parser)
        if not argument and name not in parser:
            raise KeyError(f"{part} of {config} refers to nothing called {name!r}.")
        parser[f"{part}::{name}" if argument else name] = value
    return parser.get_parsed_content(part)
