"""`tfapp bench serving`: what is asked of whom, what is made of it, and small real runs."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from tfapp.bench.serving import suite
from tfapp.bench.serving.__main__ import Worker, find_maker
from tfapp.bench.serving.base import Contender
from tfapp.bench.serving.clients import WrongAnswer
from tfapp.bench.serving.files import Files, forward, is_right
from tfapp.bench.serving.points import POINT, POINTS, WORKLOADS, find_points, probe_of
from tfapp.bench.serving.results import Load, PointResult, Row, compare
from tfapp.bench.serving.roster import ROSTER, assign, find_servers, reference_of
from tfapp.bench.serving.targets import TARGETS, judge
from tfapp.cli import bench_serving_display
from tfapp.errors import UnknownName, UsageError
from tfapp.names import import_object
from tfapp.timing import turns
from tfapp.timing.machine import Machine
from tfapp.timing.process import ContenderFailed

MACHINE = Machine("a processor", 2, "a system", 0.1, {"tfapp": "1.0"})


def load(per_second=1000.0, p50=1.0, p99=2.0, server_us=100.0):
    return Load(int(per_second * 2), 2.0, p50, p99, 0.25, server_us)


# --- who is asked what --------------------------------------------------------------------------


def test_points_are_found_by_their_workload():
    assert find_points([]) == POINTS
    assert [point.name for point in find_points(["models", "rest"])] == [
        *("rest-1", "rest-8", "rest-32", "models-1", "models-50")
    ]
    with pytest.raises(UnknownName, match=r"no workload named 'grcp'\. Did you mean 'grpc'"):
        find_points(["grcp"])
    assert len(POINT) == len(POINTS), "names are unique"
    assert {point.workload for point in POINTS} == set(WORKLOADS)


@pytest.mark.parametrize("entry", ROSTER.values(), ids=lambda entry: entry.name)
def test_every_contender_is_there_and_takes_part(entry):
    assert issubclass(import_object("contender", entry.path), Contender)
    assert entry.points
    assert set(entry.points) <= set(POINT)


def test_every_point_has_its_reference():
    teams = assign(POINTS, find_servers(()))
    assert list(teams) == list(POINT)
    for name, team in teams.items():
        assert reference_of(POINT[name]) in {entry.name for entry in team}
    for target in TARGETS:
        assert set(target.contenders) <= {entry.name for entry in teams[target.point]}


def test_points_without_anybody_are_left_out():
    teams = assign(find_points(["grpc", "bodies"]), find_servers(["fastapi"]))
    assert list(teams) == ["images-json", "rows-json"]
    with pytest.raises(UsageError, match=r"fastapi cannot do grpc\. These can: tfapp, grpc-echo\."):
        assign(find_points(["grpc"]), find_servers(["fastapi"]))
    with pytest.raises(UnknownName, match=r"Did you mean 'fastapi'.*mypackage.bench:Mine"):
        find_servers(["fastpi"])


@pytest.mark.parametrize(
    ("point", "probe"),
    [("images-json", "rest-1"), ("rows-grpc", "grpc-1"), ("models-50", "models-1")],
)
def test_a_start_is_told_by_a_small_request(point, probe):
    assert probe_of(POINT[point]).name == probe


def test_what_is_missing_is_told_how_to_install():
    absent = replace(ROSTER["kserve"], module="not_there_at_all")
    assert absent.missing == "not installed: pip install not_there_at_all"
    absent = replace(ROSTER["fastapi"], module="not_there_at_all")
    assert absent.missing == "not installed: pip install 'tfapp[bench]'"
    assert ROSTER["tfapp"].missing is None


# --- what is made of it -------------------------------------------------------------------------


def test_a_load_tells_rates():
    assert load(500.0).per_second == 500.0
    assert load(500.0).request_us == 2000.0


def test_rows_are_compared_round_by_round():
    ours = Row("tfapp", "ok", rounds=(load(4000), load(2000), load(1000)))
    theirs = Row(
        "fastapi",
        "ok",
        rounds=(
            load(1000, 8.0, 30.0, 500.0),
            load(1000, 6.0, 20.0, 700.0),
            load(800, 7.0, 40.0, 600.0),
        ),
    )
    failed = Row("kserve", "failed", "no luck")
    reference, rows = compare([failed, theirs, ours], "tfapp", 5000)
    assert reference == "tfapp"
    assert [row.contender for row in rows] == ["tfapp", "fastapi", "kserve"]
    assert [row.ratio for row in rows] == [1.0, 2.0, None]  # the middle one of 4, 2 and 1.25
    assert rows[0].per_second.median == 2000.0
    assert rows[0].mb_per_second == pytest.approx(10.0)
    assert (rows[1].p50_ms, rows[1].p99_ms, rows[1].server_us) == (7.0, 30.0, 600.0)
    assert rows[1].per_second.p10 == pytest.approx(840.0)
    assert rows[0].client_cores == 0.25


def test_who_was_not_timed_is_no_reference():
    failed = Row("tfapp", "failed", "no luck")
    assert compare([failed], "tfapp", 1) == (None, (failed,))
    call = Row("numpy", "limit", rounds=(load(server_us=None),))
    reference, rows = compare([failed, call], "tfapp", 1)
    assert (reference, rows[0].ratio, rows[0].server_us) == ("numpy", 1.0, None)


def result(point, **rounds):
    found = [Row(name.replace("_", "-"), "ok", rounds=tuple(told)) for name, told in rounds.items()]
    reference, rows = compare(found, "tfapp", 5000)
    return PointResult(point, POINT[point].workload, POINT[point].about, 5000, reference, rows)


def test_targets_are_judged():
    good = [
        result("rest-1", tfapp=[load(4500)], fastapi=[load(1000)]),
        result("rest-32", tfapp=[load(9999, p99=8.0)], fastapi=[load(1000)]),
        result("grpc-32", tfapp=[load(600)], grpc_echo=[load(1000)]),
    ]
    verdicts = judge(good)
    assert [verdict.point for verdict in verdicts] == ["rest-1", "rest-32", "rest-32", "grpc-32"]
    measured = [verdict.measured for verdict in verdicts]
    assert measured == pytest.approx([4.5, 9.999, 8.0, 0.6])
    assert [verdict.met for verdict in verdicts] == [True, False, True, True]
    assert [verdict.wanted for verdict in verdicts] == [
        *("at least 4.5", "at least 10", "at most 8", "at least 0.6")
    ]
    slow = [
        result("rest-32", tfapp=[load(p99=8.1)]),
        result("grpc-32", tfapp=[load(599)], grpc_echo=[load(1000)]),
    ]
    assert [verdict.met for verdict in judge(slow)] == [False, False]
    assert judge([result("rest-1", tfapp=[load()]), result("rest-8", tfapp=[load()])]) == ()


def test_an_answer_is_right_up_to_rounding():
    expected = np.array([[1.0, -2.0]])
    assert is_right(expected + 1e-5, expected)
    assert not is_right(expected + 5e-5, expected)
    assert not is_right(expected[0], expected)


def test_the_network_in_numpy():
    weights = [np.array([[1.0, -1.0]]), np.array([0.5, 0.0]), np.array([[2.0], [4.0]]), np.ones(1)]
    # relu(2 + 0.5) * 2 + relu(-2) * 4 + 1, and relu(-2 + 0.5) * 2 + relu(2) * 4 + 1.
    assert forward(weights, np.array([[2.0], [-2.0]])).tolist() == [[6.0], [9.0]]


# --- the process of a contender, asked in this one ----------------------------------------------


class Made(Contender):
    """Answers in no time; what it answers first is wrong for one point."""

    opened: object = None

    def open(self, workload, first):
        self.opened = workload, first.name

    def close(self):
        Made.opened = "closed"

    def ask(self, point, seconds):
        if point.name == "rest-8":
            raise WrongAnswer("not so")
        return load(1000 * seconds)


def test_a_worker_tells_of_all_rounds_of_a_point(tmp_path):
    worker = Worker(Made)
    do = worker.actions
    assert do["open"](workload="rest", first="rest-1", folder=str(tmp_path)) == {"started": None}
    assert do["aim"](point="rest-1", seconds=0.1) == {}
    assert len(do["time"](seconds=1.0)["rounds"]) == 1
    told = json.loads(json.dumps(do["time"](seconds=2.0)))
    assert [Load(**done) for done in told["rounds"]] == [load(1000), load(2000)]
    assert (told["steps"], told["seconds"]) == (4000, 2.0)
    do["aim"](point="rest-32", seconds=0.1)
    assert len(do["time"](seconds=1.0)["rounds"]) == 1
    with pytest.raises(WrongAnswer):
        do["aim"](point="rest-8", seconds=0.1)
    assert do["drop"]() == do["drop"]() == {}
    assert Made.opened == "closed"


def test_a_wrong_answer_is_told_with_what_was_expected(tmp_path):
    (tmp_path / "answers").mkdir()
    np.save(tmp_path / "answers" / "row.json.npy", np.array([[0.5, 1.5]]))
    made = Made(Files(tmp_path))
    made.check(POINT["rest-1"], np.array([[0.5, 1.5]]))
    with pytest.raises(WrongAnswer) as raised:
        made.check(POINT["rest-1"], np.array([[0.5, 1.25]]))
    assert str(raised.value) == (
        "an answer of shape (1, 2) begins with 0.5, 1.25; expected is (1, 2), 0.5, 1.5"
    )


def test_only_a_subclass_of_contender_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no_servers.py").write_text("class NotOne: pass\n")
    assert find_maker(f"{__name__}:Made") is Made
    with pytest.raises(UsageError, match=r"contender 'no_servers:NotOne': expected a subclass of"):
        find_maker("no_servers:NotOne")


# --- the whole benchmark, with processes that a test makes up ------------------------------------


class Told:
    """In place of a crew: contenders that answer at the rates of a test, or fail where it says."""

    rates: dict[str, dict[str, float]]
    asked: list[tuple[str, ...]]

    def __init__(self, module):
        assert module == "tfapp.bench.serving"
        self.at: dict[str, str] = {}
        self.rounds: dict[str, int] = {}

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        pass

    def start(self, names, *, at_once):
        yield from names

    def ask(self, name, what, **arguments):
        self.asked.append((name, what, *map(str, list(arguments.values())[:2])))
        if what == "write":
            return {"bytes": dict.fromkeys(arguments["names"], 5000)}
        if what == "open" and not self.rates[name]:
            raise ContenderFailed("no luck")
        if what == "aim":
            self.at[name], self.rounds[name] = arguments["point"], 0
            if arguments["point"] not in self.rates[name]:
                raise ContenderFailed("not here")
        if what == "time":
            self.rounds[name] += 1
            rate = self.rates[name][self.at[name]]
            if rate < 0:
                raise ContenderFailed("tired")
            one = load(rate)
            rounds = [asdict(one)] * self.rounds[name]
            return {"steps": one.requests, "seconds": 2.0, "rounds": rounds, "idle_cores": 0.0}
        return {"started": {"seconds": 4.0, "memory_mb": 500.0}}


@pytest.fixture
def bench(monkeypatch):
    """Returns the result of a benchmark, given the rates of each contender."""
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(suite, "Crew", Told)
    monkeypatch.setattr(Told, "asked", [], raising=False)

    def run(workloads, watch=lambda moment: None, **rates):
        found = {name.replace("_", "-"): told for name, told in rates.items()}
        team = [replace(entry, module=None) for entry in find_servers(found)]
        monkeypatch.setattr(Told, "rates", found, raising=False)
        return suite.run_serving(find_points(workloads), team, rounds=2, seconds=2.0, watch=watch)

    return run


REST = ("rest-1", "rest-8", "rest-32")


def test_servers_take_turns_and_the_rest_goes_on(bench):
    moments = []
    found = bench(
        ["rest"],
        moments.append,
        tfapp=dict.fromkeys(REST, 5000.0),
        fastapi={"rest-1": 1000.0, "rest-8": -1.0, "rest-32": 500.0},
        kserve={},
        litserve={"rest-1": 2000.0, "rest-32": 100.0},
    )
    assert [point.point for point in found.points] == list(REST)
    at_1, at_8, at_32 = ({row.contender: row for row in point.rows} for point in found.points)
    assert list(at_1) == ["tfapp", "litserve", "fastapi", "kserve"]
    assert [row.ratio for row in at_1.values()] == [1.0, 2.5, 5.0, None]
    assert (at_1["kserve"].status, at_1["kserve"].detail) == ("failed", "no luck")
    assert (at_8["fastapi"].status, at_8["fastapi"].detail) == ("failed", "tired")
    assert (at_8["litserve"].status, at_8["litserve"].detail) == ("failed", "not here")
    assert at_32["fastapi"].ratio == 10.0, "who failed at one point does the next"
    assert at_32["litserve"].ratio == 50.0
    assert at_32["kserve"].detail == "no luck"
    assert at_1["tfapp"].started.seconds == 4.0
    assert len(at_1["tfapp"].rounds) == 2
    assert [verdict.met for verdict in found.targets] == [True, True, True]
    told = [(moment.workload, moment.stage, moment.contender) for moment in moments]
    rounds = [(where, stage) for where, stage, _ in told if stage.startswith("round")]
    assert rounds[:6] == [("rest-1", "round 1/2")] * 3 + [("rest-1", "round 2/2")] * 3
    assert [who for where, _, who in told if where == "rest-1"][-6:] == [
        *("tfapp", "fastapi", "litserve") * 2
    ]
    assert moments[-1].seconds_left < moments[8].seconds_left


def test_a_server_serves_all_points_of_a_workload(bench):
    bench(
        ["rest", "bodies"],
        tfapp=dict.fromkeys(POINT, 10.0),
        fastapi=dict.fromkeys(POINT, 5.0),
    )
    opened = [asked for asked in Told.asked if asked[1] in ("open", "drop")]
    assert opened == [
        ("tfapp", "open", "rest", "rest-1"),
        ("fastapi", "open", "rest", "rest-1"),
        ("tfapp", "drop"),
        ("fastapi", "drop"),
        ("tfapp", "open", "bodies", "rest-1"),
        ("fastapi", "open", "bodies", "rest-1"),
        ("tfapp", "drop"),
        ("fastapi", "drop"),
    ]
    (written,) = (asked for asked in Told.asked if asked[1] == "write")
    assert written[0] == "files"


def test_what_is_not_installed_is_a_row(bench, monkeypatch):
    monkeypatch.setattr(Told, "rates", {"tfapp": dict.fromkeys(REST, 10.0)}, raising=False)
    team = [*find_servers(["tfapp"]), replace(ROSTER["kserve"], module="not_there_at_all")]
    found = suite.run_serving(find_points(["rest"]), team, rounds=1, seconds=0.1)
    rows = {row.contender: row for row in found.points[0].rows}
    assert rows["kserve"].status == "not installed"
    assert rows["kserve"].detail == "not installed: pip install not_there_at_all"
    assert rows["tfapp"].status == "ok"


def test_the_table(bench, capsys, tmp_path):
    calls = dict.fromkeys(POINT, 40_000.0)
    found = bench(
        ["grpc", "calls"],
        tfapp=dict.fromkeys(POINT, 2000.0),
        grpc_echo={"grpc-1": 4000.0, "grpc-8": 8000.0},
        servable=calls,
        numpy=dict.fromkeys(POINT, 80_000.0),
    )
    shown = replace(found, machine=MACHINE)
    bench_serving_display.show_serving(shown, None, quiet=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == [
        "grpc: one row a request, gRPC",
        "asked contender requests/s p10 p90 x tfapp p50 ms p99 ms client cores server us"
        " start s memory MB remarks",
        "1 connection grpc-echo (limit) 4,000 4,000 4,000 0.50 1 2 0.25 100 4.0 500",
        "1 connection tfapp 2,000 2,000 2,000 1.00 1 2 0.25 100 4.0 500",
    ]
    assert lines[7] == "32 connections grpc-echo - - - - - - - - - - failed: not here"
    assert lines[9] == "calls: a call in the process, without a server"
    assert lines[10].startswith("asked contender calls/s p10 p90 x servable")
    assert lines[11].startswith("batch 1 numpy (limit) 80,000 80,000 80,000 0.50 1")
    assert "target" not in " ".join(lines), "the echo failed where the target is"
    bench_serving_display.draw_serving(found, tmp_path / "bars.svg")
    drawn = (tmp_path / "bars.svg").read_text()
    for said in ("grpc-8: 8 connections", "answers a second", "servable"):
        assert said in drawn


def test_large_requests_are_told_in_megabytes(bench, capsys):
    found = bench(["bodies"], tfapp=dict.fromkeys(POINT, 2000.0))
    bench_serving_display.show_serving(replace(found, machine=MACHINE), None, quiet=True)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "p99 ms MB/s client cores" in lines[1]
    # 2,000 requests of 5,000 bytes.
    assert "1,000 rows, JSON tfapp 2,000 2,000 2,000 1.00 1 2 10 0.25 100 4.0 500" in lines
