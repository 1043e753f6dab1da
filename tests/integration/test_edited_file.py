"""Commands on a running chain whose chain file has been edited since, and not reloaded."""

import json

import pytest
from chains import listener, operator, publisher
from scrapes import Scraper

from arroyo.cli.commands.top import TopChain
from arroyo.dashboard.chain_page import ChainPage
from arroyo.web.access_token import AccessToken

CHANGED = "chain.toml has changed since; to apply it: arroyo reload numbers"
MISTAKEN = "chain.toml has changed since, and has mistakes: "


@pytest.fixture
def chain(make_chain, monkeypatch):
    made = make_chain(
        listener("count", every_s=0.01),
        operator("work", "Pass", ["count"], keys="replicas = 2"),
        publisher("write", ["work"]),
    )
    for variable in ("ARROYO_RUN_DIR", "ARROYO_STATE_DIR"):
        monkeypatch.setenv(variable, made.environ[variable])
    made.supervisor = made.supervise()
    made.wait_until_ready()
    return made


def names(status):
    return [f"{row['stage']}.{row['replica']}" for row in status["stages"]]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [("replicas = 2", "replicas = 3", CHANGED), ("replicas = 2", "replicsa = 3", MISTAKEN)],
)
def test_what_runs_is_shown_and_that_the_file_is_another_is_said(chain, before, after, said):
    top = TopChain(str(chain.path))
    page = ChainPage(chain.path, chain.environ, AccessToken())
    scraper = Scraper(chain)
    assert said not in chain.command("status", chain.path)
    chain.edit(before, after)
    status = json.loads(chain.command("status", chain.path, "--json"))
    assert names(status) == ["count.0", "work.0", "work.1", "write.0"]
    assert {row["state"] for row in status["stages"]} == {"READY"}
    assert status["file_changed"].startswith(said)
    assert said in chain.command("status", "numbers")
    chain.start("arroyo", "status", chain.path, "--watch", "100 ms").wait_for(said)
    for seen in (top.look(), TopChain(str(chain.path)).look(), TopChain("numbers").look()):
        assert [len(stage.replicas) for stage in seen.stages] == [1, 2, 1]
        assert any(note.startswith(said) for note in seen.notes)
    assert said in page._look().decode()
    assert ChainPage(chain.path, chain.environ, AccessToken()).chain == "numbers"
    for each in (scraper, Scraper(chain)):
        ready = [key for key in each.samples() if key[0] == "arroyo_stage_ready"]
        assert len(ready) == 4
        assert each.get("/health")[0] == 200


def test_a_chain_with_a_spoilt_file_takes_orders_by_its_path(chain):
    chain.path.write_text("no toml")
    assert "work.1" in chain.command("restart", chain.path, "work.1")
    assert "work.1" in chain.command("logs", chain.path)
    assert "Event" in chain.command("tap", chain.path, "work", "-n", "1")
    assert "stopped work.0" in chain.command("stop", chain.path, "work.0")
    assert "starting work.0" in chain.command("start", chain.path)
    chain.command("stop", chain.path)
    assert chain.supervisor.wait() == 0, chain.text()


def test_after_a_reload_the_file_is_what_runs(chain):
    top = TopChain("numbers")
    chain.edit("[stages.work]", "[stages.work]\nnice = 1")
    assert CHANGED in top.look().notes
    chain.command("reload", chain.path)
    assert CHANGED not in top.look().notes
    assert CHANGED not in chain.command("status", chain.path)
    chain.edit("nice = 1", "nice = 0")
    assert CHANGED in top.look().notes
