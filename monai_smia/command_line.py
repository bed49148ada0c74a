"""What was typed on the command line of ``python -m monai.bundle run``, checked before anything is computed.

MONAI takes every override, and one that no config knows (``--epz 0.03``) does nothing.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import pydoc
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle import ConfigParser, run

from monai_smia.nearest import nearest
from monai_smia.overrides import check_kind, config_files, overrides_of, parts_of

NOT_MET = 3  # exit status; that of a case that failed, or of anything else, is 1
# What dependencies say at every run and nobody who runs a bundle can do anything about.
BANNERS = {
    "monai.bundle.scripts": logging.WARNING,  # the command line once more
    "monai.bundle.workflows": logging.WARNING,
    "monai.data.nvimgcodec_pydicom_plugin": logging.ERROR,  # a decoder that a GPU would need
}
WARNINGS = (
    "NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register",
    r".*get_mask_edges:always_return_as_numpy: Argument",  # of MONAI's own call
)
EXPECTED = (ValueError, RuntimeError, OSError, LookupError)  # and what is raised from them: their text is to be read
HINTS = (  # what to do about errors that are nobody's own, by a part of their text
    ("No such file", "say where it is, with --bundle_root, --dataset_dir or the override that names it."),
    ("Not a directory", "choose another --output_dir."),
    ("CUDA", "run on the processor with --device \"$torch.device('cpu')\"."),
    ("state_dict", "these weights are of another network: see --weights and what describes the network."),
)
LONGEST = 400  # characters of an error that is nobody's own
NOTHING = {"None": "for MONAI leaves None out", "null": "but as a text"}
WORDS = {"split": "all", "stop_at": "never"}  # of overrides that have one for it
OF_PRESETS = {  # overrides that one preset alone takes
    "paper": ("autocast", "loss", "rows", "settings", "stop_at"),
    "shifts": ("certify", "draws", "proofs", "severity", "shifts"),
}
PLANS = ("attacks", "comparison", "plan")  # ids of a plan, which may be one's own
OVERLAY = "attack"  # what is under it reads words itself: `monai_smia.adapters.monai_bundle`
OWN = frozenset(inspect.signature(run).parameters) - {"override"}


def check_arguments(arguments: Sequence[str] | None = None) -> None:
    """End the run where an override names nothing that its configs know, or would not arrive.

    Args:
        arguments: of the command line, the program first; None for those of the process. Of another program than
            ``monai.bundle run`` they are not looked at.

    Raises:
        SystemExit: with one line that names the override and what is nearest to it.

    Example:
        >>> check_arguments(["/usr/bin/pytest", "--epz", "0.03"])
    """
    arguments = sys.argv if arguments is None else arguments
    if not is_bundle_run(arguments):
        return
    if arguments is sys.argv:
        quiet()
    given = dict(overrides_of(arguments[2:]))
    files = config_files(given.get("config_file", ""))
    if not files:
        return
    config: dict[str, Any] = {}
    for file in files:
        for key, value in ConfigParser.load_config_file(file).items():
            _put(config, parts_of(str(key).lstrip("+")), value)
    for name, value in given.items():
        if name in OWN:
            continue
        unknown = _unknown(parts_of(name), config)
        if unknown is not None and not _is_asked_for(name, config):
            raise SystemExit(_sentence(name, *unknown))
        if value in NOTHING:
            word = WORDS.get(name, "'$None'")
            raise SystemExit(f"--{name} {value} does not arrive, {NOTHING[value]}: write --{name} {word}.")
        if value[:1] not in ("$", "@", "%") and value != WORDS.get(name) and parts_of(name)[0] != OVERLAY:
            check_kind(name, value, config)


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """End the run where an override has a value that means nothing.

    Raises:
        SystemExit: with one line that names what is allowed.

    Example:
        >>> check_choice("space", "netwrok", ["native", "network"])
        Traceback (most recent call last):
        SystemExit: --space must be one of native, network, got 'netwrok'; did you mean network?
    """
    if value not in allowed:
        known = ", ".join(map(str, allowed))
        raise SystemExit(f"--{name} must be one of {known}, got {value!r}{nearest(value, allowed)}")


def check_preset(preset: str, arguments: Sequence[str] | None = None) -> None:
    """End the run where an override is of another preset, and would do nothing. A plan of one's own may take all.

    Args:
        preset: that is run.
        arguments: of the command line, the program first; None for those of the process.

    Raises:
        SystemExit: with one line that names the override and its preset.

    Example:
        >>> check_preset("quick", ["monai/bundle/__main__.py", "run", "attack_eval", "--severity", "5"])
        Traceback (most recent call last):
        SystemExit: --severity is of --preset shifts, and would do nothing with --preset quick.
    """
    arguments = sys.argv if arguments is None else arguments
    names = [name for name, _ in overrides_of(arguments[2:])] if is_bundle_run(arguments) else []
    files = config_files(dict(overrides_of(arguments[2:])).get("config_file", "")) if names else []
    own = [*names, *(str(key) for file in files[1:] for key in ConfigParser.load_config_file(file))]
    if any(parts_of(name)[-1] in PLANS for name in own):
        return
    for name in names:
        other = next((other for other, own in OF_PRESETS.items() if name in own), preset)
        if other != preset:
            raise SystemExit(f"--{name} is of --preset {other}, and would do nothing with --preset {preset}.")


def end_unless_met(summary: Mapping[str, Any]) -> None:
    """End the process with the exit status 3 where a criterion of the user's own (``--accept``) is not met.

    Args:
        summary: as `AttackEvaluation.run` returns it; empty in processes other than the first.

    Raises:
        SystemExit: 3.

    Example:
        >>> end_unless_met({"criteria": [{"met": True}]})
        >>> end_unless_met({"criteria": [{"met": True}, {"met": False}]})
        Traceback (most recent call last):
        SystemExit: 3
    """
    if not all(verdict["met"] for verdict in summary.get("criteria", ())):
        raise SystemExit(NOT_MET)


def check_found(items: Sized, folder: Any) -> None:
    """End the run where a folder holds nothing to work on.

    Raises:
        SystemExit: with one line that names it.
    """
    if not len(items):
        raise SystemExit(f"{folder} holds nothing that this config takes; say where the data are with --dataset_dir.")


def quiet() -> None:
    """Leave out what dependencies tell who runs an evaluation, and what of an error is for who has written it.

    That is `BANNERS` and `WARNINGS`, and the trace of an error that this package has raised, which says itself what to
    do. Their own errors and all other warnings stay.
    """
    for name, level in BANNERS.items():
        logging.getLogger(name).setLevel(level)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    before = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        said = next((each for each in _chain(error) if isinstance(each, EXPECTED) and _is_ours(each)), None)
        if isinstance(error, KeyboardInterrupt):
            print(f"\n{error or 'Interrupted.'}", file=sys.stderr)
        elif said is None:
            before(kind, error, trace)
            print(f"\n{_cause(error)}", file=sys.stderr)
        else:
            print(_in_one_line(said), file=sys.stderr)

    sys.excepthook = told


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from, the last one first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _in_one_line(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(re.sub(r"\n\s*- ", "; ", text).split()).replace("one of; ", "one of: ")


def _cause(error: BaseException) -> str:
    """The first error of a chain, which says what the later ones follow from, and what to do where that is known."""
    *_, cause = _chain(error)
    text = f"{type(cause).__name__}: {(_in_one_line(cause) or 'no more is known')[:LONGEST]}"
    hint = next((what for part, what in HINTS if part in text), None)
    return text if hint is None else f"{text.rstrip('.')}; {hint}"


def _is_ours(error: BaseException) -> bool:
    """Whether a line of this package has raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)


def is_bundle_run(arguments: Sequence[str]) -> bool:
    """Whether a command line is one of ``python -m monai.bundle run``."""
    return Path(arguments[0]).parts[-3:] == ("monai", "bundle", "__main__.py") and arguments[1:2] == ["run"]


def _put(config: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Lay one id of a config over what earlier ones say."""
    first, *rest = path
    if not rest:
        config[first] = value
    elif isinstance(config.setdefault(first, {}), dict):
        _put(config[first], rest, value)


def _unknown(path: Sequence[str], config: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """The first part of an id that is not known, with the names that stand there; None where all are."""
    here: Any = config
    within = False  # a component, whose dictionaries hold what it likes, as what a report says about a model
    for place, part in enumerate(path):
        if isinstance(here, list):
            if not (part.isdigit() and int(part) < len(here)):
                return part, [str(number) for number in range(len(here))]
            here = here[int(part)]
        elif isinstance(here, Mapping):
            within = within or "_target_" in here
            if part in here:
                here = here[part]
            elif _may_hold(here, part, within, place == len(path) - 1):
                return None
            else:
                return part, [str(name) for name in here]
        else:
            return None  # a reference or an expression: what it gives is not known here
    return None


def _is_asked_for(name: str, config: Any) -> bool:
    """Whether a reference of a config is to an id that no config has, such as ``@output_dir``, and this is it."""
    if isinstance(config, Mapping):
        return any(_is_asked_for(name, value) for value in config.values())
    if isinstance(config, (list, tuple)):
        return any(_is_asked_for(name, value) for value in config)
    return isinstance(config, str) and re.search(rf"@{re.escape(name)}(?![\w#:])", config) is not None


def _may_hold(here: Mapping[str, Any], part: str, within: bool, last: bool) -> bool:
    """Whether a name may be new: an argument of a component, or what stands in a dictionary that one is handed."""
    return last and _takes(here["_target_"], part) if "_target_" in here else within


def _takes(target: Any, name: str) -> bool:
    """Whether a component takes an argument, or nothing says that it does not."""
    found = pydoc.locate(target) if isinstance(target, str) else None
    try:
        parameters = inspect.signature(found).parameters if callable(found) else {}
    except (TypeError, ValueError):
        return True
    free = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return not parameters or free or name in parameters


def _sentence(name: str, part: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(part, known, 1, cutoff=0.5)
    whole = f"--{name[: len(name) - len(part)]}{near[0]}" if near and name.endswith(part) else "".join(near)
    hint = f"did you mean {whole}?" if near else f"known are: {', '.join(sorted(known))}."
    return f"--{name} is nothing that the configs know, and would do nothing: {hint}"
