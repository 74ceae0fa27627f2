"""Problems as callers of the *_many methods write them: mappings of arguments."""

from collections.abc import Iterable, Mapping
from typing import Any

from ._criteria import Kind
from ._exceptions import LossdError, describe, invalid, invalid_type
from ._options import Options
from ._problem import Problem

_ARRAYS = ("input", "target", "weight", "grad_output")

_DEFAULTS: dict[str, Any] = {
    "ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0, "class_axis": 1,
    "grad": False, "grad_target": False, "grad_weight": False, "log_sum_exp": False, "top_k": 0,
    "empty_mean": "nan", "normalizer": None,
}

# Arguments that nll_loss does not have.
_SMOOTHING = ("label_smoothing", "grad_target")


def read(kind: Kind, arguments: Any) -> Problem:
    """The problem of a mapping with the arguments of Client.cross_entropy or Client.nll_loss.

    Raises:
        InvalidArgument: it is no mapping, an argument is missing or unknown, or the problem is not
            valid.
    """
    if not isinstance(arguments, Mapping):
        raise invalid_type("", "", f"expected a mapping of the arguments of {kind.name}, got "
                           f"{describe(arguments)}")
    for name in ("input", "target"):
        if name not in arguments:
            raise invalid(name, "FIELD_MISSING", f"expected every problem to have {name}")
    known = {*_ARRAYS, *_DEFAULTS} - (set() if kind.smooths else set(_SMOOTHING))
    for name in arguments:
        if name not in known:
            raise invalid(str(name), "", f"expected arguments of {kind.name} ("
                          f"{', '.join(sorted(known))}), got {describe(name)}")
    given = {name: value for name, value in arguments.items() if name not in _ARRAYS}
    options = Options.checked(kind, **{**_DEFAULTS, **given})
    return Problem.checked(arguments["input"], arguments["target"], arguments.get("weight"),
                           arguments.get("grad_output"), options)


def iterable(problems: Any) -> Iterable[Mapping[str, Any]]:
    """The problems, where they can be gone through.

    Raises:
        InvalidType: they are a single problem, or nothing with several elements.
    """
    if isinstance(problems, (Mapping, str, bytes)) or not hasattr(problems, "__iter__"):
        raise invalid_type("problems", "", f"expected several mappings, got {describe(problems)}")
    found: Iterable[Mapping[str, Any]] = problems
    return found


def placed(error: LossdError, place: str) -> LossdError:
    """The error of one problem among several, with the place before the name of the argument."""
    words, named = str(error), f"{error.field}: "
    if error.field and named in words:
        words = words.replace(named, f"{place}.{named}", 1)
    else:
        words = f"{place}: {words.removeprefix(': ')}"
    field = f"{place}.{error.field}" if error.field else place
    return type(error)(words, error.code, field, error.reason, error.retry_after)
