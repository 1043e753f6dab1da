"""The chain files of measured chains, and what is said of chains that do not come to their end."""

import pytest

from arroyo.bench.case import FRAME_WORK, Case
from arroyo.bench.meter import MeasurementError
from arroyo.bench.running.supervised import SupervisedChain, case_chain, idle_chain
from arroyo.config.reader import load_chain
from arroyo.identifiers import ReplicaName
from arroyo.runner.user_code.checking import check_in_child


def load(tmp_path, text):
    """Read a chain file of which nothing may be wrong, its stages' options included."""
    path = tmp_path / "chain.toml"
    path.write_text(text)
    assert check_in_child(path) == []
    return load_chain(path)


def test_a_case_has_a_stage_for_each_that_passes_on(tmp_path):
    case = Case(100, 10, length=2, replicas=3, interval_s=0.5)
    chain = load(tmp_path, case_chain(case, tmp_path / "notes"))
    assert [(stage.name, stage.replicas) for stage in chain.stages.values()] == [
        ("source", 1),
        ("work1", 3),
        ("work2", 3),
        ("sink", 1),
    ]
    assert chain.stages["source"].options == {
        "notes": str(tmp_path / "notes"),
        "events": 10,
        "payload_bytes": 100,
        "interval_s": 0.5,
    }


@pytest.mark.parametrize("work", [*FRAME_WORK, "integrate"])
def test_each_kind_of_work_has_stages_that_take_its_options(tmp_path, work):
    pixels = 1000 if work == "integrate" else 0
    load(tmp_path, case_chain(Case(1 << 20, 10, 1, 1, work, pixels=pixels), tmp_path))


def test_the_source_may_have_keys_of_its_own(tmp_path):
    text = case_chain(Case(100, 10), tmp_path, 'delivery = "best-effort"')
    assert load(tmp_path, text).stages["source"].delivery == "best-effort"


@pytest.mark.parametrize("importing", [True, False])
def test_an_idle_chain_has_replicas_of_one_operator(tmp_path, importing):
    chain = load(tmp_path, idle_chain(5, importing=importing))
    assert len(chain.replicas) == 7
    assert chain.stages["work"].target.endswith(
        "ImportingOperator" if importing else "IdleOperator"
    )


def test_a_chain_that_cannot_start_is_no_measurement_and_says_why():
    broken = idle_chain(1, importing=False).replace("IdleSink", "NoSuchSink")
    with SupervisedChain(lambda _: broken) as chain:
        with pytest.raises(MeasurementError, match=r"(?s)ended with code 78\n.*NoSuchSink"):
            chain.wait()
        with pytest.raises(MeasurementError, match=r"(?s)sink.0 of a .* not ready\n.*NoSuchSink"):
            chain.wait_ready(ReplicaName("sink", 0))
    assert not chain.folder.exists()
