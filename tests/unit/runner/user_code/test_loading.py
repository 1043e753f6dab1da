import importlib
import sys
from pathlib import Path

import pytest

import arroyo.connectors
from arroyo.config.graph import Chain, Stage
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.runner.user_code.loading import (
    build_listener,
    build_stage,
    load_factory,
    load_message_types,
)

STAGES = '''
import arroyo

class Source(arroyo.IteratingListener):
    def messages(self):
        return iter(())

class Bare:
    """Neither inherits nor takes the operator."""
    def __init__(self, port: int = 1):
        self.port = port
    def start(self): pass
    def stop(self): pass

class Double(arroyo.Operator):
    def __init__(self, factor=2):
        if factor < 0:
            raise ValueError("factor must not be negative")
        self.factor = factor
    def process(self, message):
        return message

class Lazy(arroyo.Operator):
    pass

class Sink(arroyo.Publisher):
    def __init__(self, path="x"):
        open(path).close()
    def publish(self, message): pass

def make_double(factor=3):
    return Double(factor)

class Remote(arroyo.Operator):
    def __init__(self):
        raise ConnectionRefusedError("nobody listens")
    def process(self, message): pass

class Touchy:
    @property
    def proces(self):
        raise RuntimeError("not connected")

def make_touchy():
    return Touchy()

def make_nothing():
    return None

class Lists(arroyo.Operator):
    def process_batch(self, messages):
        return messages

class BareLists:
    """Does either, and inherits nothing."""
    def process_batch(self, messages):
        return messages
    def publish_batch(self, messages): pass

class WrongLists(arroyo.Publisher):
    def publish_batch(self, messages, connection): pass

class Yields(arroyo.Publisher):
    def publish(self, message):
        yield message

class YieldsLater(arroyo.Publisher):
    async def publish(self, message): pass
    async def flush(self):
        yield

class BeginsFlushLater(arroyo.Publisher):
    def publish(self, message): pass
    async def begin_flush(self): pass

class StopsLater(arroyo.IteratingListener):
    def messages(self):
        return iter(())
    async def stop(self): pass

class AcknowledgesLater(arroyo.IteratingListener):
    def messages(self):
        return iter(())
    async def acknowledge(self, token): pass

class AcknowledgesBatchLater(arroyo.IteratingListener):
    def messages(self):
        return iter(())
    async def acknowledge_batch(self, tokens): pass

class NoMessage(arroyo.Operator):
    def process(self): pass

class NoToken(Source):
    def acknowledge(self): pass

class Proces(arroyo.Operator):
    def proces(self, message): pass

class BareProces:
    def proces(self, message): pass
    def publish(self, message): pass

class BarePublish:
    def publish(self, message): pass

class Strat(arroyo.Listener):
    def strat(self): pass
    def stop(self): pass

class Async(arroyo.Listener):
    async def open(self): pass
    async def start(self): pass
    def stop(self): pass
    async def close(self): pass

class Peak(arroyo.Message):
    position: float

class Event(arroyo.Message):
    pass

number = 5
'''


@pytest.fixture
def chain(tmp_path):
    """A chain whose folder holds `STAGES`; nothing of it is left in the interpreter."""
    (tmp_path / "stages_under_test.py").write_text(STAGES, "utf-8")
    path, modules = sys.path.copy(), set(sys.modules)
    yield Chain("test", tmp_path, tmp_path / "chain.toml", {})
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def stage(target, role="operator", **options):
    return Stage("double", role, target, options=options)


def own(name, role="operator", **options):
    return stage(f"stages_under_test:{name}", role, **options)


def problem_of(call, *arguments):
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def write(chain: Chain, name: str, text: str) -> None:
    (chain.folder / f"{name}.py").write_text(text, "utf-8")


class TestLoading:
    def test_a_class_beside_the_chain_file_is_found(self, chain):
        assert load_factory(own("Double"), chain).__name__ == "Double"

    def test_the_folder_is_searched_last(self, chain):
        write(chain, "tomllib", "raise SystemExit('took the place of the standard one')")
        load_factory(own("Double"), chain)
        assert sys.path[-1] == str(chain.folder)

    def test_the_next_chain_has_its_own_module_of_the_same_name(self, chain, tmp_path):
        load_factory(own("Double"), chain)
        folder = tmp_path / "other"
        folder.mkdir()
        (folder / "stages_under_test.py").write_text(STAGES.replace("Double", "Triple"))
        other = Chain("other", folder, folder / "chain.toml", {})
        assert load_factory(own("Triple"), other).__name__ == "Triple"
        assert str(chain.folder) not in sys.path

    def test_libraries_below_the_chain_s_folder_stay_when_the_next_one_comes(
        self, chain, tmp_path, monkeypatch
    ):
        environment = chain.folder / "venv"
        environment.mkdir()
        (environment / "library_under_test.py").write_text("")
        monkeypatch.syspath_prepend(environment)
        library = importlib.import_module("library_under_test")
        load_factory(own("Double"), chain)
        folder = tmp_path / "other"
        folder.mkdir()
        problem_of(load_factory, own("X"), Chain("other", folder, folder / "chain.toml", {}))
        assert sys.modules["library_under_test"] is library
        assert "stages_under_test" not in sys.modules

    def test_a_missing_module_is_answered_with_the_nearest(self, chain):
        problem = problem_of(load_factory, stage("stages_under_tst:Double"), chain)
        assert problem.startswith("stages.double.operator: there is no module 'stages_under_tst'")
        assert problem.endswith("did you mean 'stages_under_test'?")

    def test_a_missing_module_of_a_package_is_answered_with_its_neighbours(self, chain):
        problem = problem_of(load_factory, stage("arroyo.stagess:Operator"), chain)
        assert problem.endswith("did you mean 'arroyo.stages'?")
        problem = problem_of(load_factory, stage("stages_under_test.deeper:Double"), chain)
        assert "there is no module 'stages_under_test.deeper'" in problem

    def test_a_missing_class_is_answered_with_the_nearest(self, chain):
        problem = problem_of(load_factory, own("Duoble"), chain)
        assert problem.endswith("has no Duoble; did you mean 'Double'?")

    def test_a_module_that_needs_another_says_what_to_install(self, chain):
        write(chain, "needy", "import no_such_library.part")
        problem = problem_of(load_factory, stage("needy:A"), chain)
        assert "needs no_such_library" in problem
        assert problem.endswith("pip install no_such_library")

    def test_a_module_of_ours_that_needs_a_library_names_the_extra(self, chain, monkeypatch):
        folder = chain.folder / "connectors"
        folder.mkdir()
        (folder / "needy.py").write_text("import h5py")
        monkeypatch.setattr(arroyo.connectors, "__path__", [str(folder)])
        monkeypatch.setitem(sys.modules, "h5py", None)
        problem = problem_of(load_factory, stage("arroyo.connectors.needy:X"), chain)
        assert problem.endswith(
            "needs h5py, which is not installed; try: pip install 'arroyo[hdf5]'"
        )

    def test_a_module_that_raises_says_in_which_line(self, chain):
        write(chain, "broken", "x = 1\nx / 0\n")
        problem = problem_of(load_factory, stage("broken:A"), chain)
        assert "(broken.py, line 2): ZeroDivisionError" in problem

    def test_a_module_that_is_not_python_says_in_which_line(self, chain):
        write(chain, "broken", "x = 1\nx = = 1\n")
        problem = problem_of(load_factory, stage("broken:A"), chain)
        assert "(broken.py, line 2): SyntaxError" in problem

    def test_a_module_that_says_itself_what_is_missing_is_believed(self, chain):
        write(chain, "saying", "import arroyo\nraise arroyo.ConfigurationError('no camera')")
        problem = problem_of(load_factory, stage("saying:A"), chain)
        assert problem == "stages.double.operator: no camera"

    def test_a_module_that_ends_the_process_does_not(self, chain):
        write(chain, "ending", "raise SystemExit(3)")
        assert "SystemExit: 3" in problem_of(load_factory, stage("ending:A"), chain)

    def test_what_is_no_class_is_refused(self, chain):
        assert "is 5, expected a class" in problem_of(load_factory, own("number"), chain)

    def test_a_class_of_another_role_is_refused_before_it_is_made(self, chain):
        problem = problem_of(load_factory, own("Sink"), chain)
        assert "does not define process(), which an operator needs" in problem
        assert problem.endswith("; it is a publisher: name it under publisher =")

    @pytest.mark.parametrize(
        ("name", "role", "hint"),
        [
            ("Proces", "operator", "; it has proces(): did you mean 'process'?"),
            ("BareProces", "operator", "; it has proces(): did you mean 'process'?"),
            ("BarePublish", "operator", "; it looks like a publisher: name it under publisher ="),
            ("Strat", "listener", "; it has strat(): did you mean 'start'?"),
            ("Lazy", "operator", "which an operator needs"),
            ("make_touchy", "operator", "which an operator needs"),
            ("Double", "publisher", "; it is an operator: name it under operator ="),
            ("Double", "listener", "; it is an operator: name it under operator ="),
            ("make_double", "publisher", "; it is an operator: name it under operator ="),
        ],
    )
    def test_what_is_missing_is_told_with_what_may_be_meant(self, chain, name, role, hint):
        problem = problem_of(build_stage, chain, own(name, role))
        assert "does not define " in problem
        assert problem.endswith(hint)

    def test_a_class_of_a_module_that_hides_the_users_is_told_so(self, chain):
        write(chain, "queue", "import arroyo")
        problem = problem_of(load_factory, stage("queue:Queue"), chain)
        assert "does not define process(), which an operator needs; the queue.py beside" in problem

    @pytest.mark.parametrize("name", ["Lists", "BareLists"])
    def test_a_class_that_takes_lists_needs_no_other_method(self, chain, name):
        assert load_factory(own(name), chain).__name__ == name
        assert callable(build_stage(chain, own(name)).process_batch)

    def test_a_publisher_that_takes_lists_needs_no_other_method(self, chain):
        assert load_factory(own("BareLists", "publisher"), chain).__name__ == "BareLists"

    def test_a_method_that_can_not_take_a_list_is_refused(self, chain):
        problem = problem_of(load_factory, own("WrongLists", "publisher"), chain)
        assert ":WrongLists: publish_batch(messages, connection) is called with one" in problem

    def test_an_abstract_class_is_refused_before_it_is_made(self, chain):
        assert "does not define process()" in problem_of(load_factory, own("Lazy"), chain)


class TestBuilding:
    def test_options_go_to_the_constructor(self, chain):
        assert build_stage(chain, own("Double", factor=7)).factor == 7

    def test_any_callable_may_make_it(self, chain):
        assert build_stage(chain, own("make_double")).factor == 3

    def test_what_a_callable_made_must_be_of_the_role(self, chain):
        problem = problem_of(build_stage, chain, own("make_nothing"))
        assert "does not define process()" in problem

    @pytest.mark.parametrize("name", ["Source", "Bare"])
    def test_a_listener_gets_its_operator_whatever_its_signature(self, chain, name):
        operator = build_stage(chain, own("Double"))
        assert build_listener(chain, own(name, "listener"), operator).operator is operator

    def test_wrong_options_are_told_before_the_constructor_runs(self, chain):
        problem = problem_of(build_stage, chain, own("Double", factr=1))
        assert problem.endswith("did you mean 'factor'?")

    def test_a_constructor_that_refuses_says_which_option_and_line(self, chain):
        problem = problem_of(build_stage, chain, own("Double", factor=-1))
        assert problem.startswith("stages.double.options.factor: ")
        assert "(stages_under_test.py, line " in problem
        assert "factor must not be negative" in problem

    def test_a_missing_file_is_a_configuration_error(self, chain):
        missing = str(chain.folder / "none.txt")
        problem = problem_of(build_stage, chain, own("Sink", "publisher", path=missing))
        assert "No such file" in problem
        assert missing in problem

    def test_what_can_not_be_reached_just_now_is_not_the_chain_file_s_fault(self, chain):
        with pytest.raises(UnavailableError, match=r"can't reach what it needs .*nobody listens"):
            build_stage(chain, own("Remote"))

    def test_a_publisher_is_built(self, chain):
        here = str(Path(__file__))
        assert hasattr(build_stage(chain, own("Sink", "publisher", path=here)), "publish")


class TestMessageTypes:
    def load(self, chain, *names):
        targets = tuple(f"stages_under_test:{name}" for name in names)
        return load_message_types(Chain("test", chain.folder, chain.path, {}, messages=targets))

    def test_they_are_loaded_in_order(self, chain):
        assert [kind.__name__ for kind in self.load(chain, "Peak")] == ["Peak"]
        assert self.load(chain) == ()

    def test_the_name_of_a_built_in_message_is_taken(self, chain):
        assert "a message type Event already" in problem_of(self.load, chain, "Event")

    def test_the_same_name_twice_is_refused(self, chain):
        problem = problem_of(self.load, chain, "Peak", "Peak")
        assert problem.startswith("chain.messages[1]: ")

    def test_what_is_no_message_is_refused(self, chain):
        assert "expected a subclass of arroyo.Message" in problem_of(self.load, chain, "Double")


@pytest.mark.parametrize(
    ("name", "role", "words"),
    [
        (
            "NoMessage",
            "operator",
            r"process\(\) is called with one message: .* write def process\(",
        ),
        ("NoToken", "listener", r"acknowledge\(\) is called with one token: too many positional"),
        ("Yields", "publisher", r"Yields: publish\(\) contains yield, so that nothing of it runs"),
        ("YieldsLater", "publisher", r"YieldsLater: flush\(\) contains yield"),
        ("StopsLater", "listener", r"StopsLater: stop\(\) is async, and nothing awaits it"),
        ("BeginsFlushLater", "publisher", r"begin_flush\(\) is async, and nothing awaits it"),
        ("AcknowledgesLater", "listener", r"acknowledge\(\) is async, and nothing awaits it"),
        ("AcknowledgesBatchLater", "listener", r"acknowledge_batch\(\) is async, and nothing"),
    ],
)
def test_methods_that_could_not_work_are_refused(chain, name, role, words):
    with pytest.raises(ConfigurationError, match=rf"stages.double.{role}: .*{words}"):
        load_factory(own(name, role), chain)


def test_what_is_awaited_may_be_async(chain):
    assert load_factory(own("Async", "listener"), chain)
