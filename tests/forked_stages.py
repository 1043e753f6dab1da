"""Stages that a test has forked."""

import select

import psutil

from arroyo.identifiers import ReplicaName


def start(spawner, replica=0):
    return spawner.spawn(ReplicaName("work", replica))


def end_of(process):
    assert select.select([process], [], [], 20)[0]
    return process.reap()


def server_of(spawner):
    return psutil.Process(spawner._server.pid)


def is_forked(process):
    """Whether it is no interpreter of its own."""
    return any("watching.child, forked" in word for word in psutil.Process(process.pid).cmdline())
