"""A chain as systemd units: one for the supervised chain, or one per stage and a target.

PURE: a chain in, the text of the files out. Only keys that systemd 252 knows. Nothing that could
be secret is written: a stage reads its environment from the chain file, and what that takes from
outside (``${VAR}``) comes from /etc/arroyo/CHAIN.env, which only root can read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from arroyo.config.graph import Chain, Stage, without_programs
from arroyo.shared_memory.payloads import SPARE_WINDOWS

# systemd waits this much longer than the chain itself, so that the chain ends its stages and tells
# what was left.
_GRACE_S = 15.0

_SUPERVISOR_WATCHDOG_S = 10.0
_STAGE_WATCHDOG_S = 30.0

# A restart does not help against wrong usage (64) and configuration (78), see sysexits(3). A chain
# that ended with messages in quarantine (65) has ended.
_PERMANENT = "64 65 78"

# systemd's own DefaultLimitNOFILE.
_OPEN_FILES_SOFT, _OPEN_FILES_HARD = 1024, 524_288

_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  (compared with, not written to)

Section = list[tuple[str, str]]


def render_units(chain: Chain, programs: Path, user: str) -> dict[str, str]:
    """Write the units of a chain; return their texts by file name, the supervised chain's first.

    `chain`: the chain; its path must be absolute.
    `programs`: folder of ``arroyo-supervise`` and ``arroyo-stage``.
    """
    units = {
        f"arroyo-{chain.name}.service": _render_supervised(chain, programs, user),
        f"arroyo-{chain.name}.target": _render_target(chain),
    }
    for level in chain.levels:
        for stage in level:
            at = "@" if stage.replicas > 1 else ""
            name = f"arroyo-{chain.name}-{stage.name}{at}.service"
            units[name] = _render_stage(chain, stage, programs, user)
    return units


def _render_supervised(chain: Chain, programs: Path, user: str) -> str:
    # Stages start when programs are READY.
    stages = without_programs(chain).stages.values()
    start_timeout_s = max(stage.start_timeout_s for stage in stages)
    start_timeout_s += max((each.start_timeout_s for each in chain.programs), default=0.0)
    return _render(
        Unit=[
            ("Description", f"Arroyo chain {chain.name}, supervised"),
            *_network(),
            ("StartLimitIntervalSec", "300s"),
            ("StartLimitBurst", "5"),
        ],
        Service=[
            ("ExecStart", f"{_program(programs / 'arroyo-supervise')} {_argument(chain.path)}"),
            ("ExecReload", f"{_program(programs / 'arroyo')} reload {_argument(chain.path)}"),
            *_readiness(_SUPERVISOR_WATCHDOG_S, start_timeout_s + _GRACE_S, chain),
            ("Restart", "on-failure"),
            ("RestartSec", "1s"),
            # If the kernel kills a stage for lack of memory, the supervisor restarts it.
            ("OOMPolicy", "continue"),
            *_surroundings(chain, user, min(stage.nice for stage in chain.stages.values())),
            *_open_files(chain),
            *_hardening(chain),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )


def _render_target(chain: Chain) -> str:
    return _render(
        Unit=[
            ("Description", f"Arroyo chain {chain.name}, one unit per stage"),
            *(("Wants", " ".join(_services(chain, stage))) for stage in chain.stages.values()),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )


def _render_stage(chain: Chain, stage: Stage, programs: Path, user: str) -> str:
    replica = "%i" if stage.replicas > 1 else "0"
    supervision = chain.supervision
    targets = [target for target, _ in chain.downstream(stage.name)]
    if stage.role != "program":
        targets += chain.programs
    below = [name for target in targets for name in _services(chain, target)]
    return _render(
        Unit=[
            ("Description", f"Arroyo chain {chain.name}, {stage.role} {stage.name}.{replica}"),
            *_network(),
            # Start after programs and what is below. Stopping goes the other way: sources first.
            *([("After", " ".join(below))] if below else []),
            ("PartOf", f"arroyo-{chain.name}.target"),
            ("Conflicts", f"arroyo-{chain.name}.service"),
            ("After", f"arroyo-{chain.name}.service"),
            ("StartLimitIntervalSec", _seconds(supervision.within_s)),
            ("StartLimitBurst", str(1 + supervision.max_restarts)),
        ],
        Service=[
            (
                "ExecStart",
                f"{_program(programs / 'arroyo-stage')} {_argument(chain.path)} {stage.name} "
                f"--replica {replica}",
            ),
            *_readiness(_STAGE_WATCHDOG_S, stage.start_timeout_s, chain),
            ("Restart", "no" if stage.restart == "never" else stage.restart),
            ("RestartSec", _seconds(stage.backoff_s)),
            *_surroundings(chain, user, stage.nice),
            *_limits(chain, stage),
            *_hardening(chain),
        ],
    )


def _services(chain: Chain, stage: Stage) -> Iterable[str]:
    """Names of the stage's services, one per replica."""
    name = f"arroyo-{chain.name}-{stage.name}"
    if stage.replicas == 1:
        return (f"{name}.service",)
    return tuple(f"{name}@{number}.service" for number in range(stage.replicas))


def _network() -> Section:
    return [("Wants", "network-online.target"), ("After", "network-online.target")]


def _readiness(watchdog_s: float, start_timeout_s: float, chain: Chain) -> Section:
    return [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("TimeoutStartSec", _seconds(start_timeout_s)),
        ("TimeoutStopSec", _seconds(chain.supervision.stop_timeout_s + _GRACE_S)),
        ("KillMode", "mixed"),
        ("WatchdogSec", _seconds(watchdog_s)),
        # SIGABRT, the default, would wait for ever in a process that is stopped (state T).
        ("WatchdogSignal", "SIGKILL"),
        ("RestartPreventExitStatus", _PERMANENT),
    ]


def _surroundings(chain: Chain, user: str, nice: int) -> Section:
    directory = f"arroyo/{chain.name}"
    return [
        ("User", user),
        # One folder for the supervised chain, single stages and commands in a shell, which look for
        # it there if it belongs to their user.
        ("RuntimeDirectory", directory),
        ("RuntimeDirectoryMode", "0700"),
        ("RuntimeDirectoryPreserve", "yes"),
        ("StateDirectory", directory),
        ("StateDirectoryMode", "0700"),
        ("EnvironmentFile", f"-/etc/arroyo/{chain.name}.env"),
        # The stage sets its own priority; raising it needs a permission.
        *([("LimitNICE", str(nice))] if nice < 0 else []),
    ]


def _open_files(chain: Chain) -> Section:
    """Let a stage have more open files than systemd's default allows; each sets its own limit."""
    most = max(stage.open_files or 0 for stage in chain.stages.values())
    wanted = f"{_OPEN_FILES_SOFT}:{most}"
    return [("LimitNOFILE", wanted)] if most > _OPEN_FILES_HARD else []


def _limits(chain: Chain, stage: Stage) -> Section:
    """Limits of one stage. The kernel counts payloads in shared memory for whoever writes them."""
    found = []
    if stage.open_files is not None:
        found.append(("LimitNOFILE", str(stage.open_files)))
    if stage.memory_max_bytes is not None:
        windows = (each.window_bytes for each in chain.stages.values() if each.role == "listener")
        shared_bytes = 0 if stage.role == "program" else SPARE_WINDOWS * max(windows)
        found.append(("MemoryMax", str(stage.memory_max_bytes + shared_bytes)))
    return found


def _hardening(chain: Chain) -> Section:
    """Keys that cost a chain nothing.

    Left out are PrivateDevices and ProtectClock (cameras, GPUs), MemoryDenyWriteExecute (code
    compiled at run time), ProcSubset (load and memory of the machine).
    """
    return [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "read-only"),
        ("ReadWritePaths", _quote(os.fspath(chain.folder))),
        *([] if any(map(chain.folder.is_relative_to, _TEMPORARY)) else [("PrivateTmp", "yes")]),
        ("ProtectProc", "invisible"),
        ("ProtectHostname", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectControlGroups", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("LockPersonality", "yes"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallErrorNumber", "EPERM"),
    ]


def _render(**sections: Section) -> str:
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in lines)
        for name, lines in sections.items()
    )


def _seconds(time_s: float) -> str:
    return f"{time_s:g}s"


def _program(path: Path) -> str:
    """Write the first word of ExecStart, where systemd replaces no variables."""
    return _quote(os.fspath(path))


def _argument(path: Path) -> str:
    """Write another word of ExecStart."""
    return _quote(os.fspath(path)).replace("$", "$$")


def _quote(text: str) -> str:
    """Write text as one word: C escapes as in systemd.syntax(7), and no specifiers (%)."""
    escaped = "".join(
        f"\\x{ord(sign):02x}" if ord(sign) < 0x20 else f"\\{sign}" if sign in '"\\' else sign
        for sign in text.replace("%", "%%")
    )
    return f'"{escaped}"' if escaped != text or " " in text or "'" in text else text
