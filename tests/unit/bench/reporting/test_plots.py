from arroyo.bench.case import Case, Measurement
from arroyo.bench.comparison import compare
from arroyo.bench.reporting.plots import draw_plots


def compared(case, other, ours):
    other, ours = (
        Measurement(rate, rate, 1.0, hop_p50_us=us, hop_p99_us=us) for rate, us in (other, ours)
    )
    return compare(case, [dict.fromkeys(case.chains, other) | {"arroyo": ours}])


MEASURED = [
    compared(Case(100, 10), (200.0, None), (400.0, None)),
    compared(Case(8 << 20, 10), (10.0, None), (80.0, None)),
    compared(Case(8 << 20, 10, work="read"), (10.0, None), (30.0, None)),
    compared(Case(8 << 20, 10, 1, 2, "integrate"), (10.0, None), (30.0, None)),
    compared(Case(8 << 20, 10, replicas=2), (10.0, None), (80.0, None)),
    compared(Case(8 << 20, 10, length=6), (5.0, None), (70.0, None)),
    compared(Case(1024, 10, interval_s=0.01), (100.0, 90.0), (100.0, 130.0)),
    compared(Case(1024, 10, interval_s=1e-4, loaded=True), (100.0, 90.0), (100.0, 900.0)),
]


def test_everything_that_was_measured_becomes_one_picture(tmp_path):
    assert draw_plots(MEASURED, "some machine", tmp_path / "all.png")
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")


def test_chains_with_replicas_have_a_panel_of_their_own(tmp_path):
    with_replicas = [each for each in MEASURED if not each.case.interval_s]
    without = [each for each in with_replicas if each.case.replicas == 1]
    for name, measured in (("with", with_replicas), ("without", without)):
        assert draw_plots(measured, "some machine", tmp_path / f"{name}.png")
    assert width_of(tmp_path / "with.png") == 3 * width_of(tmp_path / "without.png") // 2


def width_of(png):
    return int.from_bytes(png.read_bytes()[16:20])


def test_each_kind_of_figure_can_be_drawn_alone(tmp_path):
    for index, each in enumerate(MEASURED):
        drawn = draw_plots([each], "some machine", tmp_path / f"{index}.png")
        assert drawn == (each.case.reference == "handwritten")


def test_where_nothing_was_measured_nothing_is_drawn(tmp_path):
    assert not draw_plots([], "some machine", tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []
