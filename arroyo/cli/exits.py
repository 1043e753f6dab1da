"""How every command ends: one clear sentence per mistake on stderr, and an exit code.

Exit codes: 0 if all went well, also where the reader has gone (``| head``), else those of
sysexits(3) (64 usage, 74 a file or terminal that can't be used, 75 try later, 78 configuration),
130 after Ctrl-C. A traceback is for developers, and shown only with `--debug` or
``ARROYO_DEBUG=1``.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from arroyo.errors import ArroyoError, ConfigurationError, UsageError

INTERRUPTED = 130
"""128 + SIGINT, as shells count it."""
FILE_ERROR = 74


@contextmanager
def exiting() -> Iterator[None]:
    """Turn errors into sentences on stderr and `SystemExit` with their exit code.

    Also usable as a decorator. Errors that are defects of Arroyo pass unchanged.
    """
    try:
        yield
        sys.stdout.flush()  # here, because a reader that has gone is noticed at the flush
    except ArroyoError as error:
        if os.environ.get("ARROYO_DEBUG"):
            raise
        problems = error.problems if isinstance(error, ConfigurationError) else [str(error)]
        _end(problems, error.exit_code)
    except click.UsageError as error:
        _end([_sentence(error)], UsageError.exit_code)
    except click.ClickException as error:
        _end([error.format_message()], error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError as error:
        _end_pipe(error)
    except OSError as error:
        if os.environ.get("ARROYO_DEBUG"):
            raise
        _end_file(error)


def say_last(text: str) -> None:
    """Print what a command says at its end, whose exit code counts though nobody reads it."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _give_up_stdout()


@contextmanager
def standing_order(chain: str) -> Iterator[None]:
    """Say at Ctrl-C that an order stands, though the command no longer waits for it."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"the order stands; see: arroyo events {chain} -f", err=True)
        raise


def _end_pipe(error: BrokenPipeError) -> NoReturn:
    if not _has_no_reader():
        _end_file(error)
    _give_up_stdout()
    sys.exit(0)  # the reader has what it wants (`arroyo graph … | head`)


def _end_file(error: OSError) -> NoReturn:
    _give_up_stdout()
    place = f"{error.filename} can't be used" if error.filename else "input or output failed"
    _end([f"{place}: {error.strerror or error}"], FILE_ERROR)


def _has_no_reader() -> bool:
    """Return True if nobody reads stdout or stderr any more: it may be another pipe that broke."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _give_up_stdout() -> None:
    """Write what can be written, so that the interpreter's own flush at the end does not fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_files() -> None:
    """Open /dev/null for those of stdin, stdout and stderr that are closed (``>&-``).

    Otherwise the next file to be opened, such as a lock, would get what is written there.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _show_what_is_no_text() -> None:
    """Have stdout show what its encoding does not know, such as an odd byte of a path, escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _sentence(error: click.UsageError) -> str:
    text = error.format_message().rstrip(".")
    if error.ctx is None or text.endswith("?"):
        return text
    return f"{text}; see '{error.ctx.command_path} --help'"


def _end(problems: Sequence[str], code: int) -> NoReturn:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    sys.exit(code)


def _turn_debug_on(_: click.Context, __: click.Parameter, wanted: bool) -> None:
    if wanted:
        # In the environment, so that processes started by this one show their tracebacks, too.
        os.environ["ARROYO_DEBUG"] = "1"


class _Exiting(click.Command):
    """Base of `Command` and `Group`: `main()` under `exiting()`, and `--debug`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if self.help:
            # What keeps the lines below it apart is one character, and two in a raw docstring.
            self.help = self.help.replace("\\b\n", "\b\n")
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_turn_debug_on,
                help="Show a traceback with an error.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click would end with 1, without a word
            _end_pipe(error)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        _open_standard_files()
        _show_what_is_no_text()
        with exiting():
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        sys.exit(result if isinstance(result, int) else 0)


class Command(_Exiting):
    """A click command that ends as `exiting` says; an int that it returns is its exit code."""


class Group(_Exiting, click.Group):
    """A click group that ends as `exiting` says; a missing command is an error."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **settings})
