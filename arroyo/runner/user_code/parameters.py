"""Whether a stage's class has the parameters of the chain file; `methods` sets them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from arroyo.config.graph import Stage
from arroyo.config.parameters import say
from arroyo.stages import explain_signature


def find_unsettable(found: object, stage: Stage) -> Iterator[str]:
    """Yield which parameters of a stage its class, or object, does not have, or can't be given."""
    if callable(getattr(found, "set_parameters", None)):
        if stage.parameters and (mistake := explain_signature(found, "set_parameters")):
            yield f"stages.{stage.name}.{stage.role}: {stage.target}: {mistake}"
        return
    for name, value in stage.parameters.items():
        place = f"stages.{stage.name}.parameters.{name}: {stage.target}"
        if not _has(found, name):
            yield (
                f"{place} has neither an attribute {name!r} nor a method "
                f"set_parameters(parameters); declare it in the class: {name} = {say(value)}"
            )
        elif callable(getattr(found, name, None)):
            yield f"{place} has a method of that name, expected an attribute; rename one of them"


def _has(found: object, name: str) -> bool:
    """Return True if a class declares an attribute, also one without a value, or an object has."""
    kind = found if inspect.isclass(found) else type(found)
    annotated = any(name in vars(base).get("__annotations__", ()) for base in kind.__mro__)
    return annotated or hasattr(found, name)
