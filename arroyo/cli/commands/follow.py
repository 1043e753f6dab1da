"""`arroyo follow CHAIN ADDRESS`: sets parameters of stages as programs outside the chain say."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click

from arroyo.cli.exits import Command
from arroyo.cli.following.followed_fields import Fields, FollowedFields
from arroyo.cli.following.parameter_request import answer
from arroyo.config.http_address import HttpAddress
from arroyo.config.parameters import say_all
from arroyo.connectors.extras import needed_for
from arroyo.control.notify import Notifier
from arroyo.errors import UnavailableError, UsageError
from arroyo.supervision.live.running_chain import RunningChain

EVERY_S = 0.5
_SERVERS = ("redis://", "rediss://", "unix://")
_SOCKETS = ("tcp://", "ipc://")
_CLIENTS = 100


@click.command("follow", cls=Command)
@click.argument("chain")
@click.argument("address")
@click.option("--key", metavar="KEY", help="Follow this hash of Redis, not CHAIN:parameters.")
@click.option("--password-env", metavar="VARIABLE", help="Variable with the password for Redis.")
def command(chain: str, address: str, key: str | None, password_env: str | None) -> None:
    r"""Set parameters of stages of CHAIN as ADDRESS says, until Ctrl-C.

    redis://HOST:PORT/DB is a Redis server: each field STAGE.NAME of the hash CHAIN:parameters is
    set, at the start and within half a second of each change.

    tcp://HOST:PORT or ipc://PATH is a ZeroMQ socket of ours (REP), which programs connect to (REQ).
    Each message sets parameters of a stage; the answer comes once all its processes have them.

    Values are checked as by `arroyo set`. One that is refused changes nothing; `arroyo events` has
    it, with the reason. As a stage of the chain that is a program, it starts and ends with it.

    \b
    Examples:
    arroyo follow powder redis://127.0.0.1:6379/0
    redis-cli HSET powder:parameters integrate.threshold 700
    arroyo follow powder ipc://parameters.sock
    """
    running = RunningChain(chain)
    notifier = Notifier.from_environ(os.environ)
    if address.startswith(_SERVERS):
        read = _open_hash(address, key or f"{running.name}:parameters", password_env)
        follower = HashFollower(running, read, notifier.ready)
        while True:
            follower.look()
            time.sleep(EVERY_S)
    if not address.startswith(_SOCKETS):
        raise click.UsageError(
            f"found {address!r}, expected redis://HOST:PORT/DB, tcp://HOST:PORT or ipc://PATH"
        )
    if key is not None or password_env is not None:
        raise click.UsageError(f"--key and --password-env are for Redis; {address} is a socket")
    _serve(running, address, notifier.ready)


def _open_hash(address: str, key: str, password_env: str | None) -> Callable[[], Fields]:
    """Return what reads a hash of Redis; errors as in `RedisServer`."""
    with needed_for("arroyo follow", "redis"):
        from arroyo.connectors.redis.client import RedisServer
    server = RedisServer("arroyo follow", address, None, None, None, password_env=password_env)
    server.connect()
    client: Any = server.client
    click.echo(f"following {key} at {server.address}")

    def read() -> Fields:
        with server.explained():
            fields: Fields = client.hgetall(key)
            return fields

    return read


class HashFollower:
    """Sets what a hash says, anew for each supervisor.

    Parameters
    ----------
    read
        Reads the hash; it may raise UnavailableError.
    say_ready
        Is called once, when all that the hash says has been set or refused.
    """

    def __init__(
        self, running: RunningChain, read: Callable[[], Fields], say_ready: Callable[[], None]
    ) -> None:
        self._running = running
        self._read = read
        self._say_ready = say_ready
        self._is_ready = False
        self._fields = FollowedFields()
        self._supervisor: int | None = None
        self._trouble = ""

    def look(self) -> None:
        """Set what has changed; say once what is away, Redis or the supervisor."""
        try:
            self._follow()
        except UnavailableError as error:
            if str(error) != self._trouble:
                _complain(f"waiting: {error}")
            self._trouble = str(error)
            return
        self._trouble = ""
        if not self._is_ready:
            self._is_ready = True
            self._say_ready()

    def _follow(self) -> None:
        found, supervisor = self._read(), self._running.supervisor
        if supervisor != self._supervisor:  # it has begun with the values of the chain file
            self._supervisor, self._fields = supervisor, FollowedFields()
        for wanted in self._fields.wanted(found):
            try:
                _set(self._running, wanted.stage, wanted.values)
            except UsageError:
                self._fields.note_refusal(wanted)
            else:
                self._fields.note_set(wanted)


def _serve(running: RunningChain, address: str, say_ready: Callable[[], None]) -> NoReturn:
    """Carry out requests that come by a socket, one after the other."""
    import zmq

    from arroyo.connectors.zeromq.outside_socket import OutsideSocket, choose_address

    chosen = choose_address("arroyo follow", address, None, None, bind=True)
    socket = OutsideSocket(zmq.REP, chosen, bind=True, high_water_mark=_CLIENTS)
    before = os.umask(0o077)  # a path is for this user alone
    try:
        socket.open()
    finally:
        os.umask(before)
    click.echo(f"taking parameters at {socket.address}")
    _warn(socket.address)
    say_ready()
    while True:
        request = socket.socket.recv_multipart()
        socket.socket.send(answer(request, lambda stage, values: _set(running, stage, values)))


def _warn(address: str) -> None:
    """Say who else may set parameters at an address."""
    if address.startswith("tcp://") and not HttpAddress.parse(address[6:]).is_loopback:
        _complain(
            f"warning: whoever can reach {address} can set parameters; 127.0.0.1 is for users of "
            "this host, ipc:// for you alone"
        )


def _set(running: RunningChain, stage: str, values: Mapping[str, Any]) -> None:
    """Set parameters of a stage, and say so; errors as in `RunningChain.set_parameters`."""
    said = f"{stage}: {say_all(values)}"
    try:
        running.set_parameters(stage, values, _complain)
    except UsageError as error:
        _complain(f"{said}: not set: {error}")
        raise
    click.echo(said)


def _complain(line: str) -> None:
    click.echo(line, err=True)
