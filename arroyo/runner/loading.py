"""From the words of a chain file to the user's own objects: import, check, construct.

Here user code is called for the first time, so here its mistakes get their sentences. Each
begins with its place in the chain file, and says which line of whose file went wrong.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from arroyo.config.graph import Chain, Role, Stage
from arroyo.config.suggestions import did_you_mean
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Listener, Operator, Processor, Publisher

from .options import bind_options

Factory: TypeAlias = Callable[..., Any]
"""A class of users, or any other callable that makes a listener, operator or publisher."""

_PACKAGE = Path(__file__).parents[1]
_IMPORTLIB = Path(importlib.__file__).parent

_DUTIES: dict[Role, tuple[str, ...]] = {
    "listener": ("start", "stop"),
    "operator": ("process",),
    "publisher": ("publish",),
}


def load_factory(stage: Stage, chain: Chain) -> Factory:
    """Import what makes the stage's object; see `load_target` for what can be wrong."""
    place = f"stages.{stage.name}.{stage.role}"
    factory = load_target(stage.target, chain.folder, place)
    if not callable(factory):
        raise ConfigurationError(f"{place}: {stage.target} is {factory!r}, expected a class")
    if inspect.isclass(factory):
        _require_duties(factory, stage)
    found: Factory = factory
    return found


def build_listener(chain: Chain, stage: Stage, operator: Processor) -> Listener:
    """Construct a listener that hands its messages to `operator`.

    Raises
    ------
    ConfigurationError
        Class or options are wrong, as for all of these.
    """
    factory = load_factory(stage, chain)
    takes_operator = "operator" in _parameters(factory)
    own = {"operator": operator} if takes_operator else {}
    listener: Listener = _construct(chain, stage, factory, own)
    listener.operator = operator
    return listener


def build_operator(chain: Chain, stage: Stage) -> Operator:
    """Construct an operator."""
    operator: Operator = _construct(chain, stage, load_factory(stage, chain), {})
    return operator


def build_publisher(chain: Chain, stage: Stage) -> Publisher:
    """Construct a publisher."""
    publisher: Publisher = _construct(chain, stage, load_factory(stage, chain), {})
    return publisher


def check_options(factory: Factory, stage: Stage) -> list[str]:
    """Hold the stage's options against the signature of `factory`; say all that doesn't fit."""
    return bind_options(factory, stage)[1]


def load_message_types(chain: Chain) -> tuple[type[Message], ...]:
    """Import the users' own message types, in the order of the chain file.

    Raises
    ------
    ConfigurationError
        One is missing, is no `Message`, or has the name of another one.
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


def load_target(target: str, folder: Path, place: str) -> Any:
    """Import ``module:Class``; `folder` is searched after everything else.

    Raises
    ------
    ConfigurationError
        No such module or class, or the import raised.
    """
    module_name, _, path = target.partition(":")
    module = _import(module_name, folder, place)
    try:
        return attrgetter(path)(module)
    except AttributeError as error:
        own = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module_name and not name.startswith("_")
        ]
        raise ConfigurationError(
            f"{place}: the module {module_name} ({_file_of(module)}) has no "
            f"{path}{did_you_mean(path, own)}"
        ) from error


def _import(name: str, folder: Path, place: str) -> ModuleType:
    _search_last(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigurationError(
                f"{place}: there is no module {missing!r}, neither installed nor in "
                f"{folder}{did_you_mean(missing, _modules_beside(missing, folder))}"
            ) from error
        raise ConfigurationError(
            f"{place}: the module {name} needs {missing}, which is not installed; "
            f"try: pip install {_distribution(missing, name)}"
        ) from error
    except ConfigurationError as error:  # a connector that misses its library says it best
        raise ConfigurationError(*(f"{place}: {problem}" for problem in error.problems)) from error
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise ConfigurationError(
            f"{place}: importing {name} failed{line_of(error, folder)}: {describe(error)}"
        ) from error


def _modules_beside(missing: str, folder: Path) -> list[str]:
    """Name what could have been meant: modules of the same package, or of the chain's folder."""
    package = missing.rpartition(".")[0]
    where = getattr(sys.modules.get(package), "__path__", [] if package else [str(folder)])
    names = [info.name for info in pkgutil.iter_modules(where) if not info.name.startswith("_")]
    return [f"{package}.{name}" if package else name for name in names]


_searched: Path | None = None


def _search_last(folder: Path) -> None:
    """Put `folder` at the end of the module search path.

    In a process that runs one chain after another (tests, notebooks), the previous chain's
    folder leaves it, and its modules are forgotten: both may have a ``stages.py``.
    """
    global _searched  # noqa: PLW0603  (sys.path is global, and so is what we added to it)
    if folder == _searched:
        return
    if _searched is not None:
        if str(_searched) in sys.path:
            sys.path.remove(str(_searched))
        for name, module in list(sys.modules.items()):
            if (file := getattr(module, "__file__", None)) and _searched in Path(file).parents:
                del sys.modules[name]
        _searched = None
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        _searched = folder
    importlib.invalidate_caches()


def _construct(chain: Chain, stage: Stage, factory: Factory, own: dict[str, Any]) -> Any:
    options, problems = bind_options(factory, stage)
    if problems:
        raise ConfigurationError(*problems)
    try:
        made = factory(**options, **own)
    except (ConnectionError, TimeoutError) as error:
        raise UnavailableError(
            f"stages.{stage.name}: {stage.target} can't reach what it needs"
            f"{line_of(error, chain.folder)}: {describe(error)}"
        ) from error
    except (TypeError, ValueError, OSError, ImportError) as error:
        named = [key for key in options if re.search(rf"\b{re.escape(key)}\b", str(error))]
        option = f".{named[0]}" if named else ""
        raise ConfigurationError(
            f"stages.{stage.name}.options{option}: {stage.target} does not take its options"
            f"{line_of(error, chain.folder)}: {describe(error)}"
        ) from error
    _require_duties(made, stage)
    return made


def _require_duties(found: Any, stage: Stage) -> None:
    """Whoever has the methods of a role can play it, whatever class it is of."""
    missing = {duty for duty in _DUTIES[stage.role] if not callable(getattr(found, duty, None))}
    if inspect.isclass(found):
        # An abstract method is inherited and callable, but can't be constructed.
        missing |= getattr(found, "__abstractmethods__", frozenset())
    if not missing:
        return
    others = [
        role
        for role, duties in _DUTIES.items()
        if role != stage.role and all(callable(getattr(found, duty, None)) for duty in duties)
    ]
    hint = f"; it looks like a {others[0]}" if others else ""
    methods = " and ".join(f"{name}()" for name in sorted(missing))
    raise ConfigurationError(
        f"stages.{stage.name}.{stage.role}: {stage.target} does not define {methods}, "
        f"which {_article(stage.role)} needs{hint}"
    )


def describe(error: BaseException) -> str:
    """Name an error in one line, as the last line of its traceback does."""
    return " ".join(traceback.format_exception_only(error)[-1].split())


def line_of(error: BaseException, folder: Path) -> str:
    """Say where it happened, `` (stages.py, line 12)``: in a file of `folder` if in any.

    Our own lines would tell users nothing, so they are left out.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    frames = [
        (Path(frame.filename), frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and _PACKAGE not in Path(frame.filename).parents
        and _IMPORTLIB not in Path(frame.filename).parents
    ]
    near = [place for place in frames if folder in place[0].parents] or frames
    return f" ({near[-1][0].name}, line {near[-1][1]})" if near else ""


def _distribution(missing: str, needed_by: str) -> str:
    """Guess what to install for a missing module: one of our extras where it is in one."""
    package = missing.partition(".")[0]
    if needed_by.startswith("arroyo."):
        for requirement in metadata.requires("arroyo") or ():
            match = re.match(r"([\w-]+).*;.*extra == ['\"](\w+)", requirement)
            if match and match[1].replace("-", "_").lower() == package:
                return f"'arroyo[{match[2]}]'"
    return package


def _parameters(factory: Factory) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(factory).parameters)
    except ValueError:  # some classes written in C have none
        return {}


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"


def _article(role: Role) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
