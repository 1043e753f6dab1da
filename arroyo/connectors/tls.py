"""Explains why a server's certificate is not trusted. PURE."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from arroyo.errors import ConfigurationError

# Numbers of OpenSSL, from openssl/x509_vfy.h.
_OTHER_HOST = frozenset({62, 64})
_OTHER_TIME = frozenset({9, 10})


def explain_distrust(at: str, error: BaseException, remedy: str) -> ConfigurationError | None:
    """Explain an error of a client library; None if no certificate is its cause.

    `at`: the server.
    `remedy`: how to trust another authority.
    """
    for cause in _causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            found = cause.verify_message.rstrip(".")
            if cause.verify_code in _OTHER_HOST:
                what = f"is for another host ({found}); use a name that it is for"
            elif cause.verify_code in _OTHER_TIME:
                what = f"does not count now ({found}); renew it, or set the clock of this machine"
            else:
                what = f"is not trusted ({found}); {remedy}"
            return ConfigurationError(f"the certificate of {at} {what}")
    return None


def _causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
