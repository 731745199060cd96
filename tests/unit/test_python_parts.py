"""The small pieces of the Python package: configuration, addresses, keys, errors, pool, names."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
import stat
import threading
import tomllib
from pathlib import Path

import pytest

import rudp
from rudp import _errors, _lib
from rudp._keys import environment_key
from rudp._resolve import Address, parse, resolve, split
from rudp._serving import Pool, describe_exception
from rudp._statistics import statistics_from

ROOT = Path(__file__).resolve().parents[2]


# ---- configuration ----


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "3"),
        ("timeout", True),
        ("calls", 0),
        ("calls", 1.5),
        ("calls", 1 << 21),
        ("lost_after", 0.5),
        ("max_depth", 513),
        ("cipher", "rot13"),
        ("cipher", []),
        ("udp", "no"),
        ("direct", None),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(rudp.ConfigError, match=f"Config.{name}"):
        rudp.Config(**{name: value})


def test_a_whole_number_is_asked_for_where_one_is_needed():
    with pytest.raises(rudp.ConfigError, match=r"must be a whole number, not 1\.0"):
        rudp.Config(calls=1.0)
    with pytest.raises(rudp.ConfigError, match=r"a rudp\.Config, not {}"):
        rudp.Node(config={})


def test_something_must_carry_the_packets():
    with pytest.raises(rudp.ConfigError, match="both off"):
        rudp.Config(udp=False, tcp=False)


def test_the_defaults_are_valid_and_finite():
    config = rudp.Config()
    assert 0 < config.timeout < 1000
    assert dataclasses.replace(config, calls=5).calls == 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.calls = 3


def test_every_limit_says_what_it_is():
    source = inspect.getsource(rudp.Config)
    for field in dataclasses.fields(rudp.Config):
        assert re.search(rf"    {field.name}: [^\n]*\n    \"\"\"", source), field.name


# ---- addresses ----


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:0", "::1", 0),
        ("example.org:65535", "example.org", 65535),
        (("::1", 7), "::1", 7),
    ],
)
def test_addresses_are_split(text, host, port):
    assert split(text) == (host, port)


@pytest.mark.parametrize("text", ["x", ":1", "1.2.3.4", "::1:80", "h:-1", "h:65536", "h:٣", "h: 1"])
def test_malformed_addresses_are_refused(text):
    with pytest.raises(rudp.AddressError, match=re.escape(repr(text))):
        split(text)


@pytest.mark.parametrize(
    "address", [None, 5, b"h:1", ["h", 0], ("h", "0"), ("h", 1.5), ("h", True), ("h",), (None, 1)]
)
def test_what_is_no_address_is_told_the_form(address):
    with pytest.raises(rudp.AddressError, match=r"form 'host:port' or \('host', port\)"):
        split(address)


@pytest.mark.parametrize("text", ["http://127.0.0.1:5", "a:b:5", "h:" + "9" * 5000])
def test_only_an_ipv6_address_is_advised_to_have_brackets(text):
    with pytest.raises(rudp.AddressError, match="form host:port"):
        split(text)
    with pytest.raises(rudp.AddressError, match=r"as \[fe80::1%lo\]:5"):
        split("fe80::1%lo:5")


def test_numeric_addresses_need_no_name_server():
    assert parse("127.0.0.1:7") == Address(b"\x7f\0\0\1", 7)
    assert parse("[::1]:7") == Address(bytes(15) + b"\1", 7)
    assert parse("localhost:7") is None
    assert str(parse("[fe80:0::1]:9")) == "[fe80::1]:9"
    assert parse("127.9.9.9:1").is_loopback
    assert parse("[::1]:1").is_loopback
    assert not parse("10.0.0.1:1").is_loopback


def test_a_family_that_is_of_no_use_is_refused():
    with pytest.raises(rudp.AddressError, match="IPv6"):
        resolve("[::1]:7", family=4)
    assert resolve("localhost:7", family=4).is_loopback


# ---- keys ----


def test_keys_in_all_their_forms(tmp_path, monkeypatch):
    path = tmp_path / "key"
    key = rudp.write_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert rudp.load_key(path) == rudp.load_key(str(path)) == key
    assert rudp.load_key(key) == rudp.load_key(key.hex()) == key
    with pytest.raises(FileExistsError):
        rudp.write_key(path)
    monkeypatch.delenv("RUDP_KEY", raising=False)
    monkeypatch.delenv("RUDP_KEY_FILE", raising=False)
    assert environment_key() is None
    monkeypatch.setenv("RUDP_KEY_FILE", str(path))
    assert environment_key() == key
    monkeypatch.setenv("RUDP_KEY", "00" * 32)
    assert environment_key() == bytes(32)
    monkeypatch.setenv("RUDP_KEY", "zz")
    with pytest.raises(rudp.ConfigError, match="RUDP_KEY"):
        environment_key()


@pytest.mark.parametrize("key", [b"short", "ab", "/no/such/file"])
def test_a_bad_key_is_refused_without_being_shown(key, tmp_path):
    with pytest.raises(rudp.ConfigError):
        rudp.load_key(key)


@pytest.mark.parametrize("key", ["", 5, None, bytearray(32), [1]])
def test_what_is_no_key_is_told_the_forms(key):
    with pytest.raises(rudp.ConfigError, match=r"a cluster key is .*path"):
        rudp.load_key(key)


def test_two_keys_need_the_first():
    with pytest.raises(rudp.ConfigError, match="other_key"):
        rudp.Node(other_key=bytes(32), insecure=True)


# ---- errors ----


def _is_error(found):
    return isinstance(found, type) and issubclass(found, rudp.RudpError)


def test_each_status_has_a_class_of_its_own():
    text = (ROOT / "native/wire/status.h").read_text()
    names = re.findall(r"^    X\((\w+), \"", text.split("#define DROP_LIST")[0], re.MULTILINE)
    assert names == _lib.STATUS_NAMES
    assert set(names) - {"OK", "EXCEPTION"} == set(_errors.ERROR_OF_STATUS)
    classes = list(_errors.ERROR_OF_STATUS.values())
    assert len(set(classes)) == len(classes)
    assert all(issubclass(kind, rudp.CallError) for kind in classes)


def test_all_errors_are_one_tree_and_exported():
    kinds = [
        kind
        for _, kind in inspect.getmembers(_errors, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == "rudp"
    ]
    assert kinds
    for kind in kinds:
        assert issubclass(kind, rudp.RudpError)
        assert kind.__name__ in rudp.__all__
        assert getattr(rudp, kind.__name__) is kind
        assert kind.__doc__


@pytest.mark.parametrize(
    "kind", [getattr(rudp, name) for name in rudp.__all__ if _is_error(getattr(rudp, name))]
)
def test_every_error_survives_pickle_and_copy(kind):
    arguments = {rudp.RemoteError: ("T", "m", "frames"), rudp.LimitExceeded: ("max_head", "m")}
    error = kind(*arguments.get(kind, ("m",)))
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(same) is kind
        assert (str(same), same.args, same.__dict__) == (str(error), error.args, error.__dict__)


def test_errors_are_also_what_python_calls_them():
    for kind, also in [
        (rudp.DeadlineExceeded, TimeoutError),
        (rudp.Unreachable, ConnectionError),
        (rudp.RefusedByHost, ConnectionRefusedError),
        (rudp.PeerLost, ConnectionError),
        (rudp.PeerRestarted, rudp.PeerLost),
        (rudp.NoMemory, MemoryError),
        (rudp.SerializationError, ValueError),
        (rudp.LimitExceeded, rudp.SerializationError),
        (rudp.BindError, OSError),
        (rudp.AddressError, OSError),
        (rudp.ConfigError, ValueError),
    ]:
        assert issubclass(kind, also)


def test_an_error_says_whether_the_handler_ran():
    for outcome, ran in ((rudp.Outcome.NO, False), (rudp.Outcome.YES, True)):
        assert rudp.CallError("x", outcome=outcome).ran is ran
    assert rudp.CallError("x").ran is None
    assert repr(rudp.Busy("full")) == "Busy('full', outcome=no)"


def test_exceptions_are_described_in_bounded_size():
    def deep(n):
        return deep(n - 1) if n else 1 / 0

    try:
        deep(500)
    except ZeroDivisionError as error:
        name, message, frames = describe_exception(error, 1 << 20)
        short = describe_exception(error, 1_000)
    assert (name, message) == ("ZeroDivisionError", "division by zero")
    assert len(frames) < 20_000
    assert frames.rstrip().endswith("ZeroDivisionError: division by zero")
    assert sum(map(len, short)) <= 1_000
    assert short[:2] == [name, message]
    assert "return deep(n - 1) if n else 1 / 0" in short[2]
    assert describe_exception(rudp.Busy("x"), 100)[0] == "rudp.Busy"


# ---- the pool ----


def test_the_pool_starts_threads_only_when_none_is_idle():
    pool = Pool(4, "test")
    for _ in range(20):
        done = threading.Event()
        pool.submit(done.set)
        assert done.wait(30)
        while not pool._idle:  # the thread says that it is idle just after
            pass
    assert len(pool._threads) == 1
    gate = threading.Event()
    started = [threading.Event() for _ in range(4)]
    for event in started:
        pool.submit(lambda event=event: (event.set(), gate.wait(30)))
    assert all(event.wait(30) for event in started)
    pool.submit(gate.is_set)
    assert len(pool._threads) == 4
    gate.set()
    pool.stop(30)
    assert pool._threads == []


# ---- the surface ----


def test_statistics_sort_counters():
    found = statistics_from({"calls": 3, "dropped_TAG": 2, "new": 1})
    assert found.calls == 3
    assert found.dropped == {"tag": 2}
    assert found.other == {"new": 1}


def test_statistics_are_plain_data():
    found = statistics_from({"calls": 3, "dropped_TAG": 2, "new": 1})
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == found
    assert dataclasses.asdict(found)["dropped"] == {"tag": 2}


def test_the_core_has_the_counters_that_statistics_name():
    names = {f.name for f in dataclasses.fields(rudp.Statistics)} - {"dropped", "other"}
    plain = {name for name in _lib.COUNTER_NAMES if not name.startswith("dropped_")}
    assert names == plain


def test_the_stub_names_exactly_what_the_header_declares():
    region = (ROOT / "native/include/rudp.h").read_text()
    region = region.split("/* cffi begin */")[1].split("/* cffi end */")[0]
    functions = set(re.findall(r"\b(rudp_\w+)\(", region))
    constants = set(re.findall(r"#define (RUDP_\w+)", region))
    stub = (ROOT / "rudp/_native.pyi").read_text()
    assert set(re.findall(r"def (rudp_\w+)\(", stub)) == functions
    assert set(re.findall(r"^    (RUDP_\w+): int", stub, re.MULTILINE)) == constants


def test_only_one_module_touches_the_core():
    for path in (ROOT / "rudp").glob("*.py"):
        if path.name != "_lib.py":
            assert "_native" not in path.read_text(), path


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert rudp.__version__ == project["version"]


def test_everything_exported_exists_and_is_documented():
    for name in rudp.__all__:
        value = getattr(rudp, name)
        if not name.startswith("__"):
            assert inspect.getdoc(value), name


def test_both_nodes_have_the_same_names():
    import rudp.sync

    def public(kind):
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(rudp.Node) == public(rudp.sync.Node)
    assert public(rudp.Peer) == public(rudp.sync.Peer)


def test_importing_starts_nothing(monkeypatch):
    assert not [t for t in threading.enumerate() if t.name.startswith("rudp")]
