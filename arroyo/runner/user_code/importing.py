"""Import what a chain file names as ``module:Class``, and say in a sentence why it can't be.

Users' modules lie beside their chain file; that folder is searched last, so that none of them can
stand in for an installed one.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import traceback
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from arroyo.config.suggestions import did_you_mean
from arroyo.errors import ConfigurationError

_PACKAGE = Path(__file__).parents[2]
_IMPORTLIB = Path(importlib.__file__).parent


def load_target(target: str, folder: Path, place: str) -> Any:
    """Import ``module:Class``; `folder` is searched after everything else.

    ConfigurationError: no such module or class, or the import raised.
    """
    module_name, _, path = target.partition(":")
    module = _import(target, folder, place)
    try:
        return attrgetter(path)(module)
    except AttributeError as error:
        if hidden := say_hidden(module_name, folder):
            raise ConfigurationError(f"{place}: there is no {target}{hidden}") from error
        own = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module_name and not name.startswith("_")
        ]
        raise ConfigurationError(
            f"{place}: the module {module_name} ({_file_of(module)}) has no "
            f"{path}{did_you_mean(path, own)}"
        ) from error


def say_hidden(module: str, folder: Path) -> str:
    """Say that another module hides the one beside the chain file; empty where none does."""
    name = module.partition(".")[0]
    hiding = sys.modules.get(name)
    beside = [file for file in (f"{name}.py", f"{name}/__init__.py") if (folder / file).exists()]
    if hiding is None or not beside or _is_found_in(folder, name):
        return ""
    own = "Python's own module" if name in sys.stdlib_module_names else "the installed module"
    return (
        f"; the {beside[0]} beside the chain file is hidden by {own} of that name "
        f"({_file_of(hiding)}): rename yours"
    )


def _import(target: str, folder: Path, place: str) -> ModuleType:
    name, _, path = target.partition(":")
    _search_last(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            if name.endswith(".py"):
                meant = f"; did you mean '{name.removesuffix('.py')}:{path}'?"
            else:
                meant = say_hidden(missing, folder)
            meant = meant or did_you_mean(missing, _modules_beside(missing, folder))
            raise ConfigurationError(
                f"{place}: there is no module {missing!r}, neither installed nor in {folder}{meant}"
            ) from error
        raise ConfigurationError(
            f"{place}: the module {name} needs {missing}, which is not installed; "
            f"try: pip install {_distribution(missing, name)}"
        ) from error
    except ConfigurationError as error:  # a connector that misses its library says it best
        raise ConfigurationError(*(f"{place}: {problem}" for problem in error.problems)) from error
    except (Exception, SystemExit) as error:  # user code may raise anything
        # `from operator import Mine` of a module that means the operator.py beside it.
        hidden = say_hidden(error.name or "", folder) if isinstance(error, ImportError) else ""
        raise ConfigurationError(
            f"{place}: importing {name} failed{line_of(error, folder)}: {describe(error)}{hidden}"
        ) from error


def _modules_beside(missing: str, folder: Path) -> list[str]:
    """Name what could have been meant: modules of the same package, or of the chain's folder."""
    package = missing.rpartition(".")[0]
    where = getattr(sys.modules.get(package), "__path__", [] if package else [str(folder)])
    names = [info.name for info in pkgutil.iter_modules(where) if not info.name.startswith("_")]
    return [f"{package}.{name}" if package else name for name in names]


def _distribution(missing: str, needed_by: str) -> str:
    """Guess what to install for a missing module: one of our extras where it is in one."""
    from importlib import metadata  # takes longer to import than all the rest

    package = missing.partition(".")[0]
    if needed_by.startswith("arroyo."):
        for requirement in metadata.requires("arroyo") or ():
            match = re.match(r"([\w-]+).*;.*extra == ['\"](\w+)", requirement)
            if match and match[1].replace("-", "_").lower() == package:
                return f"'arroyo[{match[2]}]'"
    return package


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"


_searched: list[Path] = []
"""The folder that was added to the module search path."""


def _search_last(folder: Path) -> None:
    """Put `folder` at the end of the module search path.

    In a process that runs one chain after another (tests, notebooks), the previous chain's
    folder leaves it, and its modules are forgotten: both may have a ``stages.py``.
    """
    for former in _searched:
        if former != folder:
            if str(former) in sys.path:
                sys.path.remove(str(former))
            for name in [name for name in sys.modules if _is_found_in(former, name)]:
                del sys.modules[name]
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        _searched[:] = [folder]
    importlib.invalidate_caches()


def _is_found_in(folder: Path, module: str) -> bool:
    """Whether a module, or the package it is in, was found by searching `folder`.

    Being somewhere below it does not count: a virtual environment may be there.
    """
    file = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
    if file is None:
        return False
    path = Path(file)
    return (path.parent.parent if path.name == "__init__.py" else path.parent) == folder


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
