import pytest

from arroyo.config.http_address import HttpAddress


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464, True),
        ("[::1]:9464", "::1", 9464, True),
        ("localhost:0", "localhost", 0, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:65535", "::", 65535, False),
        ("beamline.example:9464", "beamline.example", 9464, False),
    ],
)
def test_a_host_and_a_port_are_an_address(text, host, port, is_loopback):
    address = HttpAddress.parse(text)
    assert address == (host, port)
    assert (str(address), address.is_loopback) == (text, is_loopback)


@pytest.mark.parametrize(
    "text",
    ["", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "a:70000", "http://a:80", "::1:80", "a b:1"],
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"expected 'host:port', such as '127\.0\.0\.1:9464'"):
        HttpAddress.parse(text)
