"""`arroyo metrics`: its mistakes; what it serves is tested with `metrics`."""

import socket
import sys

from click.testing import CliRunner

from arroyo.cli.commands.metrics import command


def invoke(*arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    return result.exit_code, result.stderr


def test_a_chain_that_is_not_there_is_one_sentence():
    code, said = invoke("nowhere")
    assert (code, said.count("\n")) == (64, 1)
    assert said.startswith("error: there is no chain file and no running chain 'nowhere'")


def test_an_address_that_is_none_is_one_sentence(small_chain):
    code, said = invoke(small_chain, "--listen", "9464")
    assert (code, said.count("\n")) == (64, 1)
    assert "found '9464', expected 'host:port'" in said


def test_a_port_that_is_in_use_is_one_sentence(small_chain):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, said = invoke(small_chain, "--listen", address)
    assert code == 75
    assert (
        said
        == f"error: {address} is in use by another program; name another port, or end that one\n"
    )


def test_a_library_that_is_missing_is_one_sentence(small_chain, monkeypatch):
    for module in list(sys.modules):
        if module.startswith(("arroyo.metrics", "prometheus_client")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    code, said = invoke(small_chain)
    assert code == 78
    assert said == (
        "error: arroyo metrics needs prometheus_client, which is not installed: "
        'pip install "arroyo[metrics]"\n'
    )
