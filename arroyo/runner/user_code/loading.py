"""From the words of a chain file to the user's own objects: import, look at, construct.

Here user code is called for the first time, so here its mistakes get their sentences. Each
begins with its place in the chain file, and says which line of whose file went wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeAlias

from arroyo.config.graph import Chain, Role, Stage
from arroyo.config.suggestions import find_nearest
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Listener, Operator, Processor, Publisher, find_list_method

from .importing import describe, line_of, load_target, say_hidden
from .methods import find_unusable
from .options import bind_options, place_in_options
from .parameters import find_unsettable

Factory: TypeAlias = Callable[..., Any]
"""A class of users, or any other callable that makes a listener, operator or publisher."""

_DUTIES: dict[Role, tuple[str, ...]] = {
    "listener": ("start", "stop"),
    "operator": ("process",),
    "publisher": ("publish",),
}
_BASES: dict[Role, type] = {"listener": Listener, "operator": Operator, "publisher": Publisher}
_TAKE_LISTS = ("process", "publish")
"""Duties that a method with `_batch` behind its name does as well."""


def load_factory(stage: Stage, chain: Chain) -> Factory:
    """Import what makes the stage's object; see `load_target` for what can be wrong."""
    place = f"stages.{stage.name}.{stage.role}"
    factory = load_target(stage.target, chain.folder, place)
    if not callable(factory):
        raise ConfigurationError(f"{place}: {stage.target} is {factory!r}, expected a class")
    if inspect.isclass(factory):
        _require_duties(factory, stage, chain)
    found: Factory = factory
    return found


def build_listener(chain: Chain, stage: Stage, operator: Processor) -> Listener:
    """Construct a listener that hands its messages to `operator`.

    ConfigurationError: class or options are wrong, as for all of these.
    """
    factory = load_factory(stage, chain)
    takes_operator = "operator" in _parameters(factory)
    own = {"operator": operator} if takes_operator else {}
    listener: Listener = _construct(chain, stage, factory, own)
    listener.operator = operator
    return listener


def build_stage(chain: Chain, stage: Stage) -> Any:
    """Construct an operator or a publisher."""
    return _construct(chain, stage, load_factory(stage, chain), {})


def check_options(factory: Factory, stage: Stage) -> list[str]:
    """Hold the stage's options against the signature of `factory`; say all that doesn't fit."""
    return [*bind_options(factory, stage)[1], *_too_many(factory, stage)]


def _too_many(factory: Factory, stage: Stage) -> list[str]:
    if stage.replicas == 1 or getattr(factory, "shares_input", True):
        return []
    return [
        f"stages.{stage.name}.replicas: replicas of {stage.target} can't share out its input: each "
        f"of the {stage.replicas} would hand over everything; leave replicas out here, and set it "
        "for the stages below"
    ]


def load_message_types(chain: Chain) -> tuple[type[Message], ...]:
    """Import the users' own message types, in the order of the chain file.

    ConfigurationError: one is missing, is no `Message`, or has the name of another one.
    """
    types: dict[str, type[Message]] = {}
    for index, target in enumerate(chain.messages):
        place = f"chain.messages[{index}]"
        found = load_target(target, chain.folder, place)
        if not (inspect.isclass(found) and issubclass(found, Message)):
            raise ConfigurationError(
                f"{place}: {target} is {found!r}, expected a subclass of arroyo.Message"
            )
        name = found.__name__
        if name in types or name in {kind.__name__ for kind in (Message, Start, Event, Stop)}:
            raise ConfigurationError(
                f"{place}: there is a message type {name} already, and the name is what tells "
                "them apart on the wire; rename the class"
            )
        types[name] = found
    return tuple(types.values())


def _construct(chain: Chain, stage: Stage, factory: Factory, own: dict[str, Any]) -> Any:
    options, problems = bind_options(factory, stage)
    if problems := [*problems, *_too_many(factory, stage)]:
        raise ConfigurationError(*problems)
    try:
        made = factory(**options, **own)
    except (ConnectionError, TimeoutError) as error:
        raise UnavailableError(
            f"stages.{stage.name}: {stage.target} can't reach what it needs"
            f"{line_of(error, chain.folder)}: {describe(error)}"
        ) from error
    except (TypeError, ValueError, OSError, ImportError) as error:
        raise ConfigurationError(
            f"{place_in_options(str(error), stage)}: {stage.target} does not take its options"
            f"{line_of(error, chain.folder)}: {describe(error)}"
        ) from error
    _require_duties(made, stage, chain)
    return made


def _require_duties(found: Any, stage: Stage, chain: Chain) -> None:
    """Accept any class that has the methods of its role."""
    missing = {duty for duty in _DUTIES[stage.role] if not _does(found, duty)}
    if inspect.isclass(found):
        # An abstract method is inherited and callable, but can't be constructed.
        missing |= getattr(found, "__abstractmethods__", frozenset())
    if not missing:
        place = f"stages.{stage.name}.{stage.role}: {stage.target}"
        problems = [f"{place}: {problem}" for problem in find_unusable(found, stage.role)]
        if problems := [*problems, *find_unsettable(found, stage)]:
            raise ConfigurationError(*problems)
        return
    hints = [
        *_near_names(found, missing),
        *_other_roles(found, stage.role),
        say_hidden(stage.target.partition(":")[0], chain.folder),
    ]
    methods = " and ".join(f"{name}()" for name in sorted(missing))
    raise ConfigurationError(
        f"stages.{stage.name}.{stage.role}: {stage.target} does not define {methods}, "
        f"which {_article(stage.role)} needs{next(filter(None, hints), '')}"
    )


def _near_names(found: Any, missing: Collection[str]) -> Iterator[str]:
    """Yield what to say of methods whose names are nearly those that are missing."""
    # Statically, since a property is users' code and may raise anything.
    names = [name for name in dir(found) if callable(inspect.getattr_static(found, name, None))]
    own = set(names).difference(*map(dir, _BASES.values()))
    for duty in sorted(missing):
        if near := find_nearest(duty, own - {duty}):
            yield f"; it has {near}(): did you mean {duty!r}?"


def _other_roles(found: Any, role: Role) -> Iterator[str]:
    """Yield what to say of another role that a class or object is fit for."""
    kind = found if inspect.isclass(found) else type(found)
    heirs = [other for other, base in _BASES.items() if issubclass(kind, base)]
    for other in heirs:
        if other != role:
            yield f"; it is {_article(other)}: name it under {other} ="
    for other, duties in _DUTIES.items():
        if not heirs and other != role and all(_does(found, duty) for duty in duties):
            yield f"; it looks like {_article(other)}: name it under {other} ="


def _does(found: Any, duty: str) -> bool:
    """Return True if a class or object has a method, or the one of that name that takes lists."""
    if duty in _TAKE_LISTS and find_list_method(found, duty) is not None:
        return True
    method = getattr(found, duty, None)
    # By its own `publish()` an operator hands on results.
    return callable(method) and getattr(method, "__func__", method) is not Operator.publish


def _parameters(factory: Factory) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(factory).parameters)
    except ValueError:  # some classes written in C have none
        return {}


def _article(role: Role) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
