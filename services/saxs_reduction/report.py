"""Compare the curves that the chain wrote with the average of the measured image itself.

Prints where the result is, how well the two agree, and the curve; draws both into a PNG beside
the result. Ends with 1 where they don't agree. Usage: python report.py [CHAIN]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple, TypeAlias

import h5py
import msgspec
import numpy as np
import plotext
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from saxs_detector import GROUP

from arroyo import ConfigurationError
from arroyo.cli.exits import exiting
from arroyo.config.graph import Chain
from arroyo.config.reader import load_chain

Floats: TypeAlias = NDArray[np.float64]


class Series(NamedTuple):
    """All curves of a run; `intensity` and `deviation` are of shape (frames, bins)."""

    title: str
    planned: int
    """Frames that the detector meant to send."""
    q: Floats
    q_edges: Floats
    intensity: Floats
    deviation: Floats

    @property
    def mean(self) -> tuple[Floats, Floats]:
        """The mean curve and its standard deviation, propagated from those of the frames."""
        frames = len(self.intensity)
        return self.intensity.mean(axis=0), np.sqrt(np.square(self.deviation).sum(axis=0)) / frames


class Agreement(NamedTuple):
    """How far the mean of a series is from the direct average, in its standard deviations."""

    deviations: Floats
    """Per bin; NaN where a bin is empty or has no uncertainty."""

    @property
    def bins(self) -> int:
        """Number of bins that could be compared."""
        return int(np.isfinite(self.deviations).sum())

    @property
    def reduced_chi_square(self) -> float:
        """Mean of the squares; 1 on average where all is well."""
        return float(np.nanmean(np.square(self.deviations)))

    @property
    def largest(self) -> float:
        """The largest deviation of any bin."""
        return float(np.nanmax(np.abs(self.deviations)))

    @property
    def holds(self) -> bool:
        """Whether chance alone explains the deviations, neither too large nor too small.

        The reduced chi-square of n bins scatters by sqrt(2/n) around 1; four times that, or one
        bin of hundreds at five standard deviations, happens by chance less than once in 10,000.
        """
        within = abs(self.reduced_chi_square - 1) < 4 * np.sqrt(2 / self.bins)
        return bool(within and self.largest < 5)


def compare(series: Series, direct: Floats) -> Agreement:
    """Compare the mean of `series` with the curve `direct`."""
    mean, deviation = series.mean
    with np.errstate(divide="ignore", invalid="ignore"):
        return Agreement(np.where(deviation > 0, (mean - direct) / deviation, np.nan))


def read_series(path: Path) -> Series:
    """Read all curves that a file has.

    Raises
    ------
    ConfigurationError
        It can't be read, or has no curves.
    """
    try:
        with h5py.File(path) as file:
            entry = file["entry"]
            start = msgspec.json.decode(entry["start/data"][()])
            written = entry["written"][()].astype(bool)
            data = entry["data"]
            intensity, deviation = (data[name][: len(written)][written] for name in ("I", "Idev"))
            series = Series(
                start["title"],
                start["frames"],
                data["Q"][()],
                np.array(start["Q_edges"]),
                intensity,
                deviation,
            )
    except (OSError, KeyError) as error:
        raise ConfigurationError(
            f"{path} has no curves ({error}); let the chain run to its end: "
            "arroyo-supervise chain.toml"
        ) from error
    if not len(series.intensity):
        raise ConfigurationError(f"{path} has no curve yet; let the chain run to its end")
    return series


def average_directly(path: Path, q_edges: Floats) -> Floats:
    """Average the measured image as it is: no frame, no stage and no operator has a part in it."""
    with h5py.File(path) as file:
        group = file[GROUP]
        usable = ~group["Imask"][()]
        q = np.sqrt(np.square(group["Q"][()]).sum(axis=0))[usable]
        sums, _ = np.histogram(q, q_edges, weights=group["I"][()][usable])
        counts, _ = np.histogram(q, q_edges)
    return sums / np.where(counts, counts, np.nan)


def draw_figure(series: Series, direct: Floats, agreement: Agreement, path: Path) -> None:
    """Draw one frame, the mean and the direct average into a PNG, deviations below them."""
    figure = Figure(figsize=(8, 7.5), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    _draw_curves(upper, series, direct)
    _draw_deviations(lower, series, agreement)
    for axes in (upper, lower):
        axes.grid(which="major", color="0.92", lw=0.6)
        axes.tick_params(which="both", direction="in", top=True, right=True)
    figure.savefig(path, dpi=150)


def _draw_curves(axes: Axes, series: Series, direct: Floats) -> None:
    mean, deviation = series.mean
    axes.errorbar(
        series.q,
        series.intensity[0],
        series.deviation[0],
        label=r"first frame, $\pm 1\sigma$",
        fmt=".",
        ms=3,
        lw=0.7,
        color="0.65",
    )
    axes.errorbar(
        series.q,
        mean,
        deviation,
        label=rf"mean of {len(series.intensity)} frames, $\pm 1\sigma$",
        fmt="o",
        ms=3.5,
        mfc="none",
        lw=0.9,
        color="tab:blue",
    )
    axes.plot(series.q, direct, label="measured image, averaged directly", color="tab:red", lw=1.1)
    axes.set(xscale="log", yscale="log", ylabel=r"$I(Q)$  (m$^{-1}$)")
    axes.set_title(f"Small-angle X-ray scattering: {series.title}", loc="left")
    axes.legend(frameon=False)


def _draw_deviations(axes: Axes, series: Series, agreement: Agreement) -> None:
    limit = max(4.0, 1.1 * agreement.largest)
    axes.axhspan(-1, 1, color="0.9", zorder=0)
    axes.axhline(0, color="tab:red", lw=1.1)
    axes.plot(series.q, agreement.deviations, "o", ms=3.5, mfc="none", color="tab:blue")
    axes.set(xlabel=r"$Q$  (Å$^{-1}$)", ylabel=r"(mean $-$ direct) / $\sigma$")
    axes.set_ylim(-limit, limit)
    axes.set_title(
        rf"reduced $\chi^2$ = {agreement.reduced_chi_square:.2f} over {agreement.bins} bins, "
        rf"largest deviation {agreement.largest:.1f} $\sigma$",
        loc="left",
        fontsize="medium",
    )


def draw_in_terminal(series: Series, direct: Floats) -> None:
    """Print the mean and the direct average as characters, both axes logarithmic."""
    mean, _ = series.mean
    shown = (mean > 0) & (direct > 0)
    q, averaged, measured = (np.log10(values[shown]) for values in (series.q, mean, direct))
    figure = plotext.figure
    figure.clear()
    figure.plot_size(80, 22)
    frames = len(series.intensity)
    figure.title(f"o mean of {frames} frames, line: the measured image averaged directly")
    figure.label("Q (1/A)", "x")
    figure.label("I (1/m)", "y")
    line = figure.signal(q.tolist(), measured.tolist(), marker="braille")
    figure.draw(line.lines())
    figure.draw(figure.signal(q[::3].tolist(), averaged[::3].tolist(), marker="o"))
    for axis, values in (("x", q), ("y", measured)):
        powers = range(int(np.ceil(values.min())), int(np.floor(values.max())) + 1)
        figure.ruler(axis).ticks(list(powers), [f"{10.0**power:g}" for power in powers])
    figure.show(colorless=not sys.stdout.isatty())


def newest(pattern: Path) -> Path:
    """Find the file of the newest run; ``{run}`` in the pattern stands for the run's name.

    Raises
    ------
    ConfigurationError
        There is none.
    """
    # The name of a run begins with the time of its start.
    files = sorted(pattern.parent.glob(pattern.name.replace("{run}", "*")))
    if not files:
        raise ConfigurationError(
            f"{pattern.parent.absolute()} has no results; run the chain first: "
            "arroyo-supervise chain.toml"
        )
    return files[-1]


def report(chain: Chain) -> bool:
    """Print and draw everything; return whether the result agrees with the measured image."""
    result = newest(Path(chain.stages["curves"].options["path"]))
    series = read_series(result)
    direct = average_directly(Path(chain.stages["detector"].options["path"]), series.q_edges)
    agreement = compare(series, direct)
    picture = result.with_suffix(".png")
    draw_figure(series, direct, agreement, picture)
    draw_in_terminal(series, direct)
    verdict = "agrees" if agreement.holds else "DOES NOT AGREE"
    print(
        f"The mean of the series {verdict} with the measured image averaged directly:\n"
        f"reduced chi-square {agreement.reduced_chi_square:.2f} over {agreement.bins} bins, "
        f"largest deviation {agreement.largest:.1f} sigma.\n\n"
        f"curves:  {result.absolute()} "
        f"({len(series.intensity)} of {series.planned} frames, {len(series.q)} bins)\n"
        f"picture: {picture.absolute()}"
    )
    return agreement.holds


def main() -> int:
    """Report on the chain given, or on the one beside this file; 1 where they don't agree."""
    chain = load_chain(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("chain.toml"))
    os.chdir(chain.folder)  # what the paths in its options are relative to
    return 0 if report(chain) else 1


if __name__ == "__main__":
    with exiting():
        code = main()
    sys.exit(code)
