"""A Prometheus server for one test: private, on loopback, gone afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chains import wait_until
from installed import require
from outside import free_port

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "prometheus" / "arroyo.rules.yml"
EVERY_S = 0.5


class PrometheusServer:
    """A prometheus process that scrapes one address, and evaluates our alert rules, often."""

    def __init__(self, program: str, folder: Path, target: str) -> None:
        self.port = free_port()
        every = f"{1000 * EVERY_S:.0f}ms"
        config = {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": every,
            },
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": "arroyo", "static_configs": [{"targets": [target]}]},
            ],
        }
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(config))  # JSON is YAML
        command = [program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers_or_has_ended, self.log_text)
        assert self._process.poll() is None, self.log_text()

    def log_text(self) -> str:
        """Return what it has logged."""
        return self._log.read_text()

    def _answers_or_has_ended(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=60):
                return True
        except urllib.error.URLError:
            return self._process.poll() is not None

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its interface for programs."""
        asked = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{asked}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                pytest.fail(f"{parameters}: {error.read().decode()}")

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the values that an expression has now."""
        found = self.get("query", query=expression)
        assert found["resultType"] == "vector", expression
        return [(each["metric"], float(each["value"][1])) for each in found["result"]]

    def stop(self) -> None:
        """End it and wait for that."""
        self._process.terminate()
        self._process.wait(timeout=60)


def program_of_prometheus(name: str) -> str:
    """Return the path of one."""
    program = shutil.which(name)
    require("" if program else f"{name} is not installed (Debian: apt-get install prometheus)")
    return str(program)


@pytest.fixture
def promtool() -> str:
    """Path of promtool, which checks configurations and rules."""
    return program_of_prometheus("promtool")


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[Any]:
    """Start a server that scrapes an address; it is stopped after the test."""
    started: list[PrometheusServer] = []

    def start(target: str) -> PrometheusServer:
        folder = tmp_path / "prometheus"
        folder.mkdir()
        server = PrometheusServer(program_of_prometheus("prometheus"), folder, target)
        started.append(server)
        server.wait_until_ready()
        return server

    yield start
    for server in started:
        server.stop()
