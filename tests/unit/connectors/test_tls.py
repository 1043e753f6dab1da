"""What is said of a certificate that does not do."""

import ssl

import pytest

from arroyo.connectors.tls import explain_distrust


def refusal(code, message):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (10, "certificate has expired", "does not count now (certificate has expired); renew it"),
        (18, "self-signed certificate", "is not trusted (self-signed certificate); trust it"),
        (62, "Hostname mismatch.", "is for another host (Hostname mismatch); use a name that"),
        (64, "IP address mismatch.", "is for another host (IP address mismatch); use a name that"),
    ],
)
def test_a_certificate_that_does_not_do_is_explained_wherever_it_was_found(code, message, words):
    lost = ConnectionError("lost")
    lost.__cause__ = OSError("not read")
    lost.__cause__.__context__ = refusal(code, message)
    said = str(explain_distrust("the server at x", lost, "trust it"))
    assert said.startswith(f"the certificate of the server at x {words}")


def test_what_has_to_do_with_no_certificate_is_not_explained():
    assert explain_distrust("the server", ConnectionError(), "trust it") is None
    assert explain_distrust("the server", ssl.SSLError(1, "wrong version"), "trust it") is None
