"""An object store that can be full: moto plays S3, and refuses writes while a file is there.

Usage: object_store.py PORT FILE
"""

import sys
from pathlib import Path

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple

port, full = int(sys.argv[1]), Path(sys.argv[2])
store = DomainDispatcherApplication(create_backend_app)


def answer(environ, start_response):
    """Answer one request."""
    if environ["REQUEST_METHOD"] != "GET" and full.exists():
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("507 Insufficient Storage", [])
        return [b""]
    return store(environ, start_response)


run_simple("127.0.0.1", port, answer, threaded=True, request_handler=MotoRequestHandler)
