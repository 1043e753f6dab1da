"""The regression gate: compares ratios with accepted ratios, which hold on any machine. PURE.

A gate file is JSON: ``{"tolerance": 0.3, "ratios": {"pass 100 B x2 r1": 0.5, ...}}``. Larger ratios
are better; that of a latency is the hand-written chain's over Arroyo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from arroyo.bench.comparison import Comparison
from arroyo.errors import ConfigurationError


class Gate(msgspec.Struct, forbid_unknown_fields=True):
    """Accepted ratios; a ratio may be less by the share `tolerance`."""

    tolerance: Annotated[float, Meta(ge=0, lt=1)]
    ratios: dict[str, Annotated[float, Meta(gt=0)]]

    def regressions(self, comparisons: Sequence[Comparison]) -> list[str]:
        """Return a sentence for each case below its accepted ratio."""
        found = []
        for comparison in comparisons:
            label = comparison.case.label
            accepted = self.ratios.get(label)
            if accepted is None:
                continue
            least = accepted * (1 - self.tolerance)
            if comparison.headline < least:
                found.append(
                    f"{label}: the ratio to the chain {comparison.case.reference} is "
                    f"{comparison.headline:.2f}, accepted are {least:.2f} and more "
                    f"({accepted:.2f} less {self.tolerance:.0%}); find what became slower, or "
                    "accept it in the gate file"
                )
        return found


def read_gate(path: Path) -> Gate:
    """Read a gate file.

    Raises
    ------
    ConfigurationError
        It can't be read, or does not have this form.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Gate)
    except OSError as error:
        raise ConfigurationError(f"the gate file {path} can't be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"the gate file {path} has the wrong form: {error}") from error
