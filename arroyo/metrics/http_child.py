"""First steps of the process that a supervisor starts for `http` in its chain file.

Nothing heavy is imported here: the supervisor imports it to name it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from arroyo.supervision.watching.child import detach


def main(chain_path: str, name: str, run_path: str, state_path: str, lifeline: int) -> None:
    """Serve the metrics of a chain until its supervisor ends, and exit with a code.

    What goes wrong is the last ERROR in its log.
    """
    detach(lifeline)

    import logging

    from arroyo.config.folders import Folders
    from arroyo.config.http_address import HttpAddress
    from arroyo.connectors.extras import needed_for
    from arroyo.control.accepted_chain import load_accepted
    from arroyo.errors import ArroyoError
    from arroyo.telemetry.logs import configure_logging

    run_directory = Folders.at(run_path, state_path).run
    log = logging.getLogger(__name__)
    configure_logging(run_directory.log(name), name, run_directory.path.name)
    try:
        with needed_for("supervisor.http", "metrics"):
            from .serving import serve
        address = HttpAddress.parse(load_accepted(Path(chain_path)).supervision.http or "")
        serve(Path(chain_path), address, os.environ, log.info, lifeline)
    except ArroyoError as error:
        log.error("%s", error)
        sys.exit(error.exit_code)
