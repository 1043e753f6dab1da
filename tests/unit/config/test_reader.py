import pytest

from arroyo.config.graph import Input
from arroyo.config.reader import find_chain, load_chain
from arroyo.config.run_directory import ChainNote, RunDirectory
from arroyo.errors import ConfigurationError, UsageError

GOOD = """
[chain]
name = "powder"
messages = ["stages:Peak"]
env = { OMP_NUM_THREADS = "1" }

[stages.images]
listener = "stages:Images"
options = { port = "${PORT:-5555}", folder = "/data/${SAMPLE}" }
window = 100
window_bytes = "64 MiB"
when_full = "drop-oldest"

[stages.integrate]
operator = "stages:Integrate"
inputs = ["images"]
replicas = "${REPLICAS}"
dispatch = "key:frame"
on_error = "retry:3"
backoff_s = "250 ms"
cpus = [0]
listen = "tcp://127.0.0.1:6000"

[stages.live]
publisher = "stages:Live"
inputs = [{ stage = "integrate", link = "pub-sub" }]

[supervisor]
stop_timeout_s = "1 min"
on_failed = "stop-chain"
"""

ENVIRON = {"SAMPLE": "${water}", "REPLICAS": "2"}


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "chain.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def problems_of(path, environ=ENVIRON):
    with pytest.raises(ConfigurationError) as caught:
        load_chain(path, environ)
    return caught.value.problems


def test_a_good_file_becomes_the_chain_that_it_describes(write, tmp_path):
    chain = load_chain(write(GOOD), ENVIRON)
    assert (chain.name, chain.folder, chain.path) == ("powder", tmp_path, tmp_path / "chain.toml")
    assert chain.messages == ("stages:Peak",)
    assert chain.env == {"OMP_NUM_THREADS": "1"}
    assert (chain.supervision.stop_timeout_s, chain.supervision.on_failed) == (60.0, "stop-chain")
    assert list(chain.stages) == ["images", "integrate", "live"]

    images, integrate, live = chain.stages.values()
    assert (images.role, images.target) == ("listener", "stages:Images")
    assert images.options == {"port": "5555", "folder": "/data/${water}"}
    assert (images.window, images.window_bytes) == (100, 64 * 1024 * 1024)
    assert images.when_full == "drop-oldest"
    assert (integrate.replicas, integrate.dispatch_key) == (2, "frame")
    assert (integrate.on_error, integrate.retries, integrate.backoff_s) == ("retry", 3, 0.25)
    assert (integrate.cpus, integrate.listen) == ((0,), "tcp://127.0.0.1:6000")
    assert live.inputs == (Input("integrate", "pub-sub"),)
    assert live.window_bytes == 256 * 1024 * 1024


def test_a_name_that_no_file_can_have_is_a_usage_error():
    with pytest.raises(UsageError, match="File name too long"):
        find_chain("x" * 300, {})


def test_a_relative_path_gives_an_absolute_folder(write, tmp_path, monkeypatch):
    write(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_chain("chain.toml", ENVIRON).folder == tmp_path


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(write):
    path = write(
        GOOD.replace("window = 100", 'windw = 100\nreplicas = "two"')
        .replace('"images"]', '"image"]')
        .replace('"stages:Live"', '"stages.Live"')
        .replace('"1 min"', '"1 minute"')
    )
    assert problems_of(path) == (
        f"{path}:10: stages.images.windw: there is no such key; did you mean 'window'?",
        f"{path}:11: stages.images.replicas: found 'two', expected a whole number",
        f"{path}:17: stages.integrate.inputs[0]: there is no stage 'image'; did you mean 'images'?",
        f"{path}:26: stages.live.publisher: found 'stages.Live', expected 'module:Class'; "
        "did you mean 'stages:Live'?",
        f"{path}:30: supervisor.stop_timeout_s: found the unit 'minute', "
        "expected one of ms, s, min, h, d",
    )


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (('name = "powder"', ""), "chain.name", "missing"),
        (('name = "powder"', "name = 5"), "chain.name", "found 5, expected text"),
        (("[supervisor]", "[supervise]"), "supervise", "did you mean 'supervisor'?"),
        (('"1" }', "1 }"), "chain.env", "expected text for each"),
        (("cpus = [0]", "cpus = [0, -1]"), "stages.integrate.cpus[1]", "found -1"),
        (("cpus = [0]", "cpus = 0"), "stages.integrate.cpus", "expected a list"),
        (("cpus = [0]", "nice = 20"), "stages.integrate.nice", "<= 19"),
        (('"drop-oldest"', '"drop"'), "stages.images.when_full", "one of 'block', 'drop-newest'"),
        (('"pub-sub"', '"sub"'), "stages.live.inputs[0].link", "'push-pull' or 'pub-sub'"),
        (('stage = "integrate", ', ""), "stages.live.inputs[0].stage", "missing"),
        (('["images"]', '[""]'), "stages.integrate.inputs[0]", "there is no stage ''; there are: "),
        (('"64 MiB"', '"64 MiBs"'), "stages.images.window_bytes", "expected one of B, kB"),
        (('"64 MiB"', "true"), "stages.images.window_bytes", "a whole number or text"),
        (("${SAMPLE}", "${NOPE}"), "stages.images.options.folder", "NOPE"),
        (("${REPLICAS}", "${NOPE}"), "stages.integrate.replicas", "no variable NOPE"),
        (('"250 ms"', '"${NOPE}"'), "stages.integrate.backoff_s", "no variable NOPE"),
        (('"stages:Integrate"', '"${NOPE}"'), "stages.integrate.operator", "no variable NOPE"),
        (('["images"]', '["${NOPE}"]'), "stages.integrate.inputs[0]", "no variable NOPE"),
        (("cpus = [0]", 'cpus = ["${NOPE}"]'), "stages.integrate.cpus[0]", "no variable NOPE"),
        (('"powder"', '"${NOPE}"'), "chain.name", "no variable NOPE"),
        (("${PORT:-5555}", "${"), "stages.images.options.port", "found '${' without a name"),
        (('[{ stage = "integrate", link = "pub-sub" }]', "[7]"), "stages.live.inputs[0]", "7"),
    ],
)
def test_one_mistake_is_one_sentence_with_its_place(write, change, place, words):
    assert change[0] in GOOD
    found = problems_of(write(GOOD.replace(*change)))
    assert len(found) == 1
    assert f": {place}: " in found[0]
    assert words in found[0]


@pytest.mark.parametrize(("port", "words"), [('"${NOPE}"', "no variable"), ("0", ">= 1")])
def test_so_is_the_only_way_in_which_a_program_is_ready(write, port, words):
    program = f'[stages.server]\ncommand = ["serval"]\nready = {{ port = {port} }}\n'
    (found,) = problems_of(write(GOOD + program))
    assert "stages.server.ready.port: " in found
    assert words in found


def test_the_mark_that_some_editors_put_before_the_text_is_no_mistake(write):
    assert load_chain(write("\ufeff" + GOOD), ENVIRON) == load_chain(write(GOOD), ENVIRON)


def test_a_file_without_stages_is_told_how_to_have_some(write):
    found = problems_of(write('[chain]\nname = "empty"\n'))
    assert len(found) == 1
    assert "[stages.NAME]" in found[0]


def test_what_is_not_toml_is_told_with_its_line(write):
    path = write('[chain]\nname = "a"\nname: b\n')
    (found,) = problems_of(path)
    assert found.startswith(f"{path}:3: this is not valid TOML")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("name = bad", 'found bad, but text needs quotes: "bad"'),
        ("operator = stages:Peak # the class", 'found stages:Peak, but text needs quotes: "stag'),
        ("name = True", "found True, expected true"),
        ("host = 127.0.0.1", 'found 127.0.0.1, but text needs quotes: "127.0.0.1"'),
        ("backoff_s = 5 s  # a while", 'found 5 s, but text needs quotes: "5 s"'),
        ("rate = .5", "found .5, expected 0.5"),
        ("rate = 0.5, 3", "Expected newline or end of document"),
        ('name = "a" port = 5', "Expected newline or end of document"),
        ('name = "a" "b"', "Expected newline or end of document"),
        ("name =", "Invalid value"),
        ("shape = (3, 4)", "Invalid value"),
    ],
)
def test_a_value_that_is_none_of_toml_is_told_what_it_needs(write, line, words):
    path = write(f"[chain]\n{line}\n")
    (found,) = problems_of(path)
    assert found.startswith(f"{path}:2: this is not valid TOML: {words}")


def test_a_whole_number_with_zeros_before_it_is_told_as_one(write):
    (found,) = problems_of(write("port = 08\n"))
    assert found.endswith("found 08, expected 8")


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 5000], ids=["digits", "brackets"])
def test_what_python_can_not_read_is_a_mistake_of_the_file(write, value):
    path = write(f'[chain]\nname = "a"\nmessages = {value}\n')
    (found,) = problems_of(path)
    assert found.startswith(f"{path}: this can't be read: ")


def test_what_ends_too_early_is_told_with_the_last_line(write):
    path = write('[chain]\nname = "a')
    (found,) = problems_of(path)
    assert found.startswith(f"{path}:2: this is not valid TOML")


def test_a_file_that_is_missing_or_no_text_is_one_sentence(tmp_path):
    (found,) = problems_of(tmp_path / "none.toml")
    assert "No such file" in found
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    (found,) = problems_of(tmp_path / "binary.toml")
    assert "UTF-8" in found


def start(path, environ):
    """Do what the start of a chain does for its name."""
    chain = load_chain(path, environ)
    directory = RunDirectory.locate(chain.name, environ)
    directory.create()
    directory.write_note(ChainNote(chain.name, chain.path, path.parent / "state"))
    return chain


class TestFindingAChain:
    def test_a_file_is_taken_as_it_is(self, write):
        path = write(GOOD)
        assert find_chain(str(path), {}) == path

    def test_a_name_leads_to_the_file_it_was_started_from(self, write, tmp_path):
        environ = {**ENVIRON, "ARROYO_RUN_DIR": str(tmp_path)}
        chain = start(write(GOOD), environ)
        assert find_chain("powder", environ) == chain.path

    def test_so_does_one_that_a_folder_here_has_as_well(self, write, tmp_path, monkeypatch):
        # `arroyo new powder`, and what the chain says: see 'arroyo quarantine list powder'.
        environ = {**ENVIRON, "ARROYO_RUN_DIR": str(tmp_path / "run")}
        chain = start(write(GOOD), environ)
        (tmp_path / "powder").mkdir()
        monkeypatch.chdir(tmp_path)
        assert find_chain("powder", environ) == chain.path

    def test_a_folder_that_is_no_chain_s_name_is_answered_with_the_file(self, tmp_path):
        with pytest.raises(UsageError, match=r"is a folder.*did you mean .*chain\.toml"):
            find_chain(str(tmp_path), {})

    def test_an_unknown_name_is_answered_with_the_known_ones(self, write, tmp_path):
        environ = {**ENVIRON, "ARROYO_RUN_DIR": str(tmp_path)}
        start(write(GOOD), environ)
        with pytest.raises(UsageError, match="did you mean 'powder'"):
            find_chain("powdr", environ)

    def test_chains_of_one_parent_do_not_share_a_folder(self, write, tmp_path):
        environ = {**ENVIRON, "ARROYO_RUN_DIR": str(tmp_path / "run")}
        for name in ("powder", "other"):
            chain = start(write(GOOD.replace("powder", name)), environ)
            assert find_chain(name, environ) == chain.path
        with pytest.raises(UsageError, match="there are: other, powder"):
            find_chain("zzz", environ)

    @pytest.mark.parametrize("text", ["none/chain.toml", "Powder", "."])
    def test_what_is_no_file_and_no_name_is_a_usage_error(self, text, tmp_path):
        with pytest.raises(UsageError):
            find_chain(text, {"XDG_RUNTIME_DIR": str(tmp_path)})
