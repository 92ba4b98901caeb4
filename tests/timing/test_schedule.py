from __future__ import annotations

from tfapp.timing import schedule as module
from tfapp.timing.schedule import Moment, Schedule, Stages


def test_the_time_left_follows_what_was_seen(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    schedule = Schedule(starts=2, checks=4, rounds=3, slice_seconds=0.5)
    assert schedule.now("", "starting", "all").done == 0.0
    clock[0] += 6.0
    schedule.started()
    # One more start at 6 s, four checks at the 4 s that are assumed, 12 slices.
    assert schedule.now("", "started", "a").seconds_left == 6 + 4 * 4 + 12 * 0.5
    schedule.started()
    with schedule.check():
        clock[0] += 2.0
    schedule.slice_done()
    moment = schedule.now("mlp-sgd", "round 1/3", "a")
    assert moment.seconds_left == 3 * 2 + 11 * 0.5
    assert moment.done == 8 / (8 + 11.5)
    for _ in range(3):
        with schedule.check():
            pass
    for _ in range(11):
        schedule.slice_done()
    end = schedule.now("mlp-sgd", "round 3/3", "a")
    assert (end.seconds_left, end.done) == (0.0, 1.0)


def test_stages_add_up(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    told = []
    stages = Stages({"first": 10.0, "second": 30.0}, told.append)
    with stages.stage("first") as tell:
        tell(Moment("a", "b", "c", 0.0, None))
        clock[0] = 10.0
        tell(Moment("a", "b", "c", 0.5, 1.0))
    with stages.stage("second") as tell:
        clock[0] = 20.0
        tell(Moment("d", "e", "f", 0.0, 3.0))
    # Half of the first stage took 10 s, so all of it and three times as much take 80.
    assert told == [
        Moment("a", "b", "c", 0.0, 40.0),
        Moment("a", "b", "c", 0.125, 70.0),
        Moment("d", "e", "f", 0.25, 60.0),
    ]
