"""Pages from the templates of this package."""

from __future__ import annotations

import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from monai_smia.units import in_unit


def rendered(name: str, **values: Any) -> str:
    """The page that a template makes of the values; what stands in it as text is escaped.

    Raises:
        jinja2.UndefinedError: if the template asks for a value that is not there.
    """
    return _template(name).render(values)


@functools.cache  # compiling one takes half a second
def _template(name: str) -> Template:
    loader = PackageLoader("monai_smia.report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.globals["in_unit"] = in_unit
    return environment.get_template(name)
