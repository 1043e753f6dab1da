"""`arroyo reload CHAIN`: has a running chain go on with its chain file as it is now."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from arroyo.cli.exits import Command, standing_order
from arroyo.errors import ConfigurationError, UnavailableError, UsageError
from arroyo.supervision.decisions.totals import UNWELL
from arroyo.supervision.live.running_chain import LOOK_EVERY_S, RunningChain
from arroyo.supervision.reloads import has_work, say_anew, say_plan


@click.command("reload", cls=Command)
@click.argument("chain")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(chain: str, dry_run: bool, as_json: bool) -> int:
    r"""Read the chain file of CHAIN anew, and have the running chain follow it.

    The file is checked first: a mistake in it changes nothing. Then the plan is printed, and
    carried out. Timeouts and restart policies change at once. Stages of which the class, options or
    other keys of their own differ are restarted, one process after the other, without loss. If one
    can't start, all of them get their old values again, and the exit code is 1.

    Stages that were added or removed, inputs, replicas, links and what else all stages go by can't
    be changed in a running chain: the command says so, and changes nothing.

    \b
    Examples:
    arroyo reload powder --dry-run
    arroyo reload powder
    """
    running = RunningChain(chain)
    told = _wait(running, running.ask("plan")["plan"], "checking")
    if not as_json:
        if told["mistakes"]:
            raise ConfigurationError(*told["mistakes"])
        for line in say_plan(told):
            click.echo(line)
    if told["state"] == "planned" and not told["anew"] and not dry_run and has_work(told):
        plan = running.ask("reload", told["plan"])["plan"]
        with standing_order(running.name):
            told = _wait(running, plan, "reloading", "rolling-back")
    if as_json:
        click.echo(json.dumps({"chain": running.name, "dry_run": dry_run, **told}))
        return _exit_code(told)
    match told["state"]:
        case "rolled-back":
            raise click.ClickException(
                f"{told['reason']}; the old values run again; "
                f"see: arroyo logs {running.name} {told['reason'].split()[0]}"
            )
        case "stopped":
            raise UnavailableError("the chain is being stopped, so not all of it was reloaded")
        case "reloaded":
            click.echo("reloaded")
    if told["anew"]:
        raise UsageError(say_anew(tuple(told["anew"])))
    return 0


def _exit_code(told: dict[str, Any]) -> int:
    if told["mistakes"]:
        return ConfigurationError.exit_code
    if told["anew"]:
        return UsageError.exit_code
    codes = {"rolled-back": UNWELL, "stopped": UnavailableError.exit_code}
    return codes.get(told["state"], 0)


def _wait(running: RunningChain, plan: str, *states: str) -> dict[str, Any]:
    """Wait until the plan has left these states; return what the supervisor tells of it then.

    UnavailableError: somebody else has made another plan meanwhile.
    """
    while True:
        told: dict[str, Any] = running.ask("reloading")
        if told["plan"] != plan:
            raise UnavailableError(
                "somebody else has the chain file reloaded meanwhile; "
                f"see: arroyo events {running.name}"
            )
        if told["state"] not in states:
            return told
        time.sleep(LOOK_EVERY_S)
