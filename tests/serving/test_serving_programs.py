"""The programs that strain a server, in short, against one process of `tfapp serve`."""

from __future__ import annotations

import asyncio

import pytest
from programs_for_tests import program

load = program("serving_load")
clients = program("serving_clients")
answers = program("serving_answers")
broken_versions = program("serving_broken_versions")
crowd = program("serving_crowd")
hostile = program("hostile_requests")
serving_hostile = program("serving_hostile")
shutdown = program("serving_shutdown")
slow_clients = program("serving_slow_clients")
swaps = program("serving_swaps")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def server(folder):
    factors = {"swapped": 2.0, "broken": 2.0, "labelled": 2.0, **answers.FACTORS}
    for name, factor in factors.items():
        (folder / name).mkdir()
        load.write_version(folder / name, 1, factor=factor)
    load.write_version(folder / "labelled", 2)
    (folder / hostile.MODEL).mkdir()
    serving_hostile.write_echo(folder / hostile.MODEL)
    load.models_config(folder, *(name for name in factors if name != "labelled"), hostile.MODEL)
    plain = (folder / "models.config").read_text().removeprefix("model_config_list {")
    labelled = broken_versions.labelled_config(folder / "labelled")
    (folder / "models.config").write_text(f"model_config_list {{ {labelled} {plain}")
    words = (
        f"--model_config_file={folder / 'models.config'}",
        "--allow_version_labels_for_unavailable_models",
        *broken_versions.FLAGS,
    )
    with load.Server(folder, words) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture
def report():
    report = load.Report()
    yield report
    assert not report.missed


def test_every_answer_is_right(server, report):
    answers.check_answers(server, answers.FACTORS, 900, 3, report)


def test_an_answer_that_is_not_right_is_found(server, capsys):
    report = load.Report()
    answers.check_answers(server, {"double": 3.0}, 9, 3, report)
    assert report.missed == [
        "every answer is right: 3 are not",
        "all 9 requests were answered: 0",
    ]
    assert "was answered" in capsys.readouterr().out


def test_a_version_that_was_not_there_is_found(server):
    client = clients.RestClient(server.rest, "double")
    asking = clients.Asking(client, 0, allowed=lambda: {2}, limit=1)
    asking.run()
    assert (asking.answered, len(asking.wrong)) == (0, 1)


def test_versions_are_swapped_without_a_request_lost(server, folder, report):
    swaps.swap_versions(server, folder / "swapped", 4, 3, report)


@pytest.mark.parametrize("how", ["its graph is cut", "its variables are missing"])
def test_a_broken_version_leaves_the_one_before_it(server, folder, report, how):
    model = broken_versions.Broken(server, folder / "broken", 2, report)
    model.fail(how, broken_versions.BREAKS[how])
    model.end()


def test_a_version_that_fails_its_warm_up_and_a_folder_that_disappears(server, folder, report):
    model = broken_versions.Broken(server, folder / "broken", 2, report)
    model.fail("its warm-up fails", broken_versions.BREAKS["its warm-up fails"])
    model.disappear(1.5)
    model.end()


def test_a_labelled_version_goes_away(server, folder, report):
    broken_versions.lose_labelled(server, folder / "labelled", report)


@pytest.mark.parametrize("name", hostile.raw_requests("/", b""))
def test_what_is_hardly_http_is_answered_once_or_cut_off(server, name):
    path = f"/v1/models/{hostile.MODEL}:predict"
    sent = hostile.raw_requests(path, serving_hostile.RIGHT)[name]
    found = serving_hostile.exchange(server.rest, sent, 0.2)
    statuses = [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]]
    assert len(statuses) <= 1, found
    assert all(status < 500 for status in statuses), found


def test_requests_sent_at_once_are_answered_in_their_order(server, report):
    serving_hostile.pipeline(server, report, 100)


def test_slow_clients_keep_nobody_waiting(server, report):
    slow_clients.stay_slowly(server, "double", 30, 2.0, report)


def test_the_server_ends_without_a_request_lost(folder, report):
    base = folder / "ended"
    base.mkdir()
    load.write_version(base, 1)
    with load.Server(base, ("--model_name=ended", f"--model_base_path={base}")) as ending:
        shutdown.end_under_load(ending, "ended", 3, report)


def test_a_crowd_loses_nothing_while_versions_are_swapped_and_at_the_end(folder, report):
    base = folder / "crowded"
    base.mkdir()
    load.write_version(base, 1)
    with load.Server(base, ("--model_name=crowded", f"--model_base_path={base}")) as crowded:
        asyncio.run(crowd.swap_under_crowd(crowded, base, 3, 24, report))


def test_a_requirement_that_is_missed_ends_a_program_with_3(capsys):
    report = load.Report()
    report.require(True, "this holds")
    report.require(False, "this does not")
    with pytest.raises(SystemExit) as ended:
        report.end()
    assert ended.value.code == 3
    assert capsys.readouterr().out == "ok     this holds\nMISSED this does not\n"
