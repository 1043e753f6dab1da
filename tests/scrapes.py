"""`arroyo metrics` for tests: a process of its own, and what it says to a scraper."""

import urllib.error
import urllib.request

from chains import wait_until
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def get(address, path, **headers):
    """Return the status and the text of an answer."""
    asked = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


class Scraper:
    """Serves the metrics of a chain on a free port, and scrapes them."""

    def __init__(self, chain):
        self.program = chain.start("arroyo", "metrics", chain.path, "--listen", "127.0.0.1:0")
        self.program.wait_for("serving chain")
        self.address = self.program.text.partition("http://")[2].partition("/")[0]

    def get(self, path, **headers):
        return get(self.address, path, **headers)

    def samples(self):
        """Return all values by name, and the values of the labels but the chain's."""
        _, text = self.get("/metrics", Accept=OPENMETRICS)
        return {
            (sample.name, *(value for key, value in sample.labels.items() if key != "chain")): (
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def wait_for(self, name, *labels, value):
        """Wait until a sample has this value."""
        key = f"arroyo_{name}", *labels
        wait_until(
            lambda: self.samples().get(key) == value,
            lambda: f"{key} is {self.samples().get(key)}, not {value}",
        )
