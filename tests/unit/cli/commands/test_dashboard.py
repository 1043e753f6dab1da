"""`arroyo dashboard`: its mistakes; what it serves is tested with `dashboard`."""

import socket

from click.testing import CliRunner

from arroyo.cli.commands.dashboard import command


def invoke(*arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    return result.exit_code, result.stderr


def test_a_chain_that_is_not_there_is_one_sentence():
    code, said = invoke("nowhere")
    assert (code, said.count("\n")) == (64, 1)
    assert said.startswith("error: there is no chain file and no running chain 'nowhere'")


def test_a_port_that_is_in_use_is_one_sentence(chain_file):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, said = invoke(chain_file, "--listen", address)
    assert (code, said.count("\n")) == (75, 1)
    assert said.startswith(f"error: {address} is in use by another program;")
