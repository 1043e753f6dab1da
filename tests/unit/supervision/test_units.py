import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from arroyo.config.graph import Chain, Input, Stage, Supervision
from arroyo.config.reader import load_chain
from arroyo.supervision.units import render_units

EXAMPLES = Path(__file__).parents[3] / "deploy" / "systemd"
PROGRAMS = Path("/opt/arroyo/bin")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="install systemd: systemd-analyze checks the units",
)


def make_chain(folder="/srv/powder", name="powder", **changes):
    stages = {
        "images": Stage("images", "listener", "m:L", restart="always", nice=-5),
        "integrate": Stage(
            "integrate", "operator", "m:O", inputs=(Input("images"),), replicas=2, backoff_s=0.25
        ),
        "patterns": Stage("patterns", "publisher", "m:P", inputs=(Input("integrate"),)),
        "live": Stage(
            "live",
            "publisher",
            "m:P",
            inputs=(Input("integrate", "pub-sub"), Input("images")),
            start_timeout_s=90.0,
            restart="never",
            env={"TOKEN": "secret"},
        ),
    }
    settings = Supervision(max_restarts=3, within_s=120.0, stop_timeout_s=20.0)
    return Chain(
        name, Path(folder), Path(folder) / "chain.toml", stages, supervision=settings, **changes
    )


def read(text):
    """Values of a unit by key, in order."""
    values = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            values.setdefault(key, []).append(value)
    return values


@pytest.fixture
def units():
    rendered = render_units(make_chain(), PROGRAMS, "arroyo")
    return {name: read(text) for name, text in rendered.items()}


def test_a_chain_has_a_supervised_unit_a_target_and_a_unit_per_stage(units):
    assert list(units) == [
        "arroyo-powder.service",
        "arroyo-powder.target",
        "arroyo-powder-images.service",
        "arroyo-powder-integrate@.service",
        "arroyo-powder-patterns.service",
        "arroyo-powder-live.service",
    ]


def test_a_reload_of_the_chains_unit_is_that_of_the_chain(units):
    reloaded = {name: values.get("ExecReload") for name, values in units.items()}
    own = reloaded.pop("arroyo-powder.service")
    assert own == ["/opt/arroyo/bin/arroyo reload /srv/powder/chain.toml"]
    assert set(reloaded.values()) == {None}


def test_the_target_wants_every_replica(units):
    wanted = " ".join(units["arroyo-powder.target"]["Wants"]).split()
    assert sorted(wanted) == [
        "arroyo-powder-images.service",
        "arroyo-powder-integrate@0.service",
        "arroyo-powder-integrate@1.service",
        "arroyo-powder-live.service",
        "arroyo-powder-patterns.service",
    ]


def test_units_start_the_programs_with_chain_stage_and_replica(units):
    started = {name: values["ExecStart"] for name, values in units.items() if "ExecStart" in values}
    assert started == {
        "arroyo-powder.service": ["/opt/arroyo/bin/arroyo-supervise /srv/powder/chain.toml"],
        "arroyo-powder-images.service": [
            "/opt/arroyo/bin/arroyo-stage /srv/powder/chain.toml images --replica 0"
        ],
        "arroyo-powder-integrate@.service": [
            "/opt/arroyo/bin/arroyo-stage /srv/powder/chain.toml integrate --replica %i"
        ],
        "arroyo-powder-patterns.service": [
            "/opt/arroyo/bin/arroyo-stage /srv/powder/chain.toml patterns --replica 0"
        ],
        "arroyo-powder-live.service": [
            "/opt/arroyo/bin/arroyo-stage /srv/powder/chain.toml live --replica 0"
        ],
    }


def test_a_stage_starts_after_all_that_it_sends_to(units):
    after = {name: " ".join(values.get("After", [])).split() for name, values in units.items()}
    assert "arroyo-powder-integrate@0.service" in after["arroyo-powder-images.service"]
    assert "arroyo-powder-integrate@1.service" in after["arroyo-powder-images.service"]
    assert "arroyo-powder-live.service" in after["arroyo-powder-images.service"]
    assert "arroyo-powder-patterns.service" in after["arroyo-powder-integrate@.service"]
    assert "arroyo-powder-live.service" in after["arroyo-powder-integrate@.service"]
    assert after["arroyo-powder-live.service"] == [
        "network-online.target",
        "arroyo-powder.service",
    ]


def test_all_stages_start_after_programs():
    chain = make_chain()
    broker = Stage("broker", "program", "", command=("broker",), start_timeout_s=30.0)
    chain = msgspec.structs.replace(chain, stages=chain.stages | {"broker": broker})
    units = {name: read(text) for name, text in render_units(chain, PROGRAMS, "arroyo").items()}
    own = units.pop("arroyo-powder-broker.service")
    assert own["ExecStart"] == [
        "/opt/arroyo/bin/arroyo-stage /srv/powder/chain.toml broker --replica 0"
    ]
    supervised = units.pop("arroyo-powder.service")
    assert supervised["TimeoutStartSec"] == ["135s"], "90 s for the slowest stage, 30 s before it"
    assert "arroyo-powder-broker.service" in " ".join(units.pop("arroyo-powder.target")["Wants"])
    for values in units.values():
        assert "arroyo-powder-broker.service" in " ".join(values["After"])


def test_single_stages_and_the_supervised_chain_exclude_each_other(units):
    for name, values in units.items():
        if name.startswith("arroyo-powder-"):
            assert values["Conflicts"] == ["arroyo-powder.service"]
            assert values["PartOf"] == ["arroyo-powder.target"]
            assert "Install" not in values


def test_the_chain_files_numbers_are_in_the_units(units):
    integrate = units["arroyo-powder-integrate@.service"]
    assert integrate["RestartSec"] == ["0.25s"]
    assert integrate["StartLimitIntervalSec"] == ["120s"]
    assert integrate["StartLimitBurst"] == ["4"]
    assert integrate["TimeoutStopSec"] == ["35s"]
    assert integrate["Restart"] == ["on-failure"]
    assert units["arroyo-powder-live.service"]["Restart"] == ["no"]
    assert units["arroyo-powder-live.service"]["TimeoutStartSec"] == ["90s"]
    assert units["arroyo-powder-images.service"]["Restart"] == ["always"]
    assert units["arroyo-powder-images.service"]["LimitNICE"] == ["-5"]
    assert "LimitNICE" not in integrate
    assert units["arroyo-powder.service"]["TimeoutStartSec"] == ["105s"]


def limited_units(**keys):
    chain = make_chain()
    stage = msgspec.structs.replace(chain.stages["integrate"], **keys)
    chain = msgspec.structs.replace(chain, stages=chain.stages | {"integrate": stage})
    rendered = render_units(chain, PROGRAMS, "arroyo")
    return [
        read(rendered[name])
        for name in ("arroyo-powder.service", "arroyo-powder-integrate@.service")
    ]


def test_limits_of_a_stage_are_those_of_its_unit(units):
    for values in units.values():
        assert not {"LimitNOFILE", "MemoryMax"} & set(values)
    whole, own = limited_units(open_files=4096, memory_max_bytes=1 << 30)
    assert own["LimitNOFILE"] == ["4096"]
    assert own["MemoryMax"] == [str((1 << 30) + 2 * (256 << 20))], "and two windows of payloads"
    assert not {"LimitNOFILE", "MemoryMax"} & set(whole)


def test_the_chains_unit_lets_a_stage_have_more_files_than_systemds_default():
    whole, own = limited_units(open_files=1_000_000)
    assert whole["LimitNOFILE"] == ["1024:1000000"]
    assert own["LimitNOFILE"] == ["1000000"]


def test_all_units_of_a_chain_share_one_private_run_directory(units):
    for name, values in units.items():
        if name.endswith(".service"):
            assert values["RuntimeDirectory"] == ["arroyo/powder"]
            assert values["RuntimeDirectoryMode"] == ["0700"]
            assert values["RuntimeDirectoryPreserve"] == ["yes"]
            assert values["StateDirectory"] == ["arroyo/powder"]
            assert values["StateDirectoryMode"] == ["0700"]
            assert "Environment" not in values  # commands of the shell find the folders without


def test_the_environment_of_the_chain_file_is_not_copied_where_everybody_reads_it():
    chain = make_chain(env={"PASSWORD": "secret"})
    assert "secret" not in "".join(render_units(chain, PROGRAMS, "arroyo").values())


def test_paths_are_written_so_that_systemd_reads_them_as_they_are():
    chain = make_chain('/srv/my "chain" 50% $HOME')
    unit = read(render_units(chain, Path("/opt/$v %i"), "arroyo")["arroyo-powder.service"])
    assert unit["ExecStart"] == [
        r'"/opt/$v %%i/arroyo-supervise" "/srv/my \"chain\" 50%% $$HOME/chain.toml"'
    ]
    assert unit["ReadWritePaths"] == [r'"/srv/my \"chain\" 50%% $HOME"']


@pytest.mark.parametrize(
    ("chain", "private"),
    [
        (make_chain(), True),
        (make_chain("/tmp/powder"), False),
        (make_chain("/var/tmp/powder"), False),
        (make_chain(name="p" * 63), True),
        (make_chain(name="p" * 63, folder="/tmporary"), True),
    ],
)
def test_tmp_is_private_unless_the_chain_is_in_it(chain, private):
    for name, text in render_units(chain, PROGRAMS, "arroyo").items():
        if name.endswith(".service"):
            assert ("PrivateTmp=yes" in text) is private


def write_units(chain, folder, programs):
    programs.mkdir()
    for program in ("arroyo-supervise", "arroyo-stage", "arroyo"):
        (programs / program).write_text("#!/bin/sh\n")
        (programs / program).chmod(0o755)
    files = []
    for name, text in render_units(chain, programs, "arroyo").items():
        files.append(folder / name)
        files[-1].write_text(text)
    return files


def analyze(*arguments):
    command = ["systemd-analyze", *map(str, arguments)]
    environ = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_EMOJI": "0", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


@needs_systemd
@pytest.mark.parametrize(
    ("chain_folder", "programs"),
    [("/srv/powder", "bin"), ("/srv/my 'chain' \"x\" 50% $HOME \\c", "my programs 50% $HOME")],
)
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path, chain_folder, programs):
    chain = make_chain(chain_folder)
    live = msgspec.structs.replace(
        chain.stages["live"], open_files=1_000_000, memory_max_bytes=1 << 30
    )
    chain = msgspec.structs.replace(chain, stages=chain.stages | {"live": live})
    files = write_units(chain, tmp_path, tmp_path / programs)
    result = analyze("verify", "--man=no", *files)
    assert result.stdout + result.stderr == ""
    assert result.returncode == 0


@needs_systemd
def test_systemd_calls_every_service_well_protected(tmp_path):
    files = write_units(make_chain(), tmp_path, tmp_path / "bin")
    for file in files:
        if file.suffix == ".service":
            result = analyze("security", "--offline=true", "--no-pager", file)
            exposure = re.search(r"exposure level for \S+: ([0-9.]+)", result.stdout)
            assert float(exposure[1]) <= 3.0


def test_the_example_units_are_what_their_chain_gives(tmp_path):
    chain = load_chain(EXAMPLES / "chain.toml", {})
    home = Path("/srv/arroyo/powder")
    chain = msgspec.structs.replace(chain, folder=home, path=home / "chain.toml")
    fresh = render_units(chain, PROGRAMS, "arroyo")
    for name, text in fresh.items():
        (tmp_path / name).write_text(text)
    kept = {path.name: path.read_text() for path in EXAMPLES.glob("arroyo-*")}
    assert kept == fresh, f"copy the new ones: cp {tmp_path}/arroyo-* {EXAMPLES}"
