from peers.with_dora import dataflow_nodes

from arroyo.bench.case import Case


def test_each_node_hears_the_one_above_it_and_the_source_hears_of_the_sinks_end(tmp_path):
    nodes = dataflow_nodes(Case(100, 10, length=2), tmp_path)
    heard = {node["id"]: node["inputs"]["messages"] for node in nodes}
    assert heard.pop("source") == "sink/out"
    assert {name: link["source"] for name, link in heard.items()} == {
        "0.0": "source/out",
        "1.0": "0.0/out",
        "sink": "1.0/out",
    }
    assert {link["queue_policy"] for link in heard.values()} == {"backpressure"}
