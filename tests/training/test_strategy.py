"""Which devices are meant, and what is said when they are not there."""

from __future__ import annotations

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Thread

import keras
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.errors import ExitCode, MissingError, TfappError, UsageError
from tfapp.training import strategy
from tfapp.training.assembly import assemble
from tfapp.training.calibration import choose_loop
from tfapp.training.cluster import Cluster, check_batch, read_cluster, wait_for_all
from tfapp.training.program import build_step
from tfapp.training.strategy import check_even, even_batch_size, find_place
from tfapp.training.together import Together
from tfapp.training.train import plan_training
from tfapp.training.workers import free_addresses

WORKERS = ["a:2222", "b:2222"]


def config(cluster, task) -> str:
    return json.dumps({"cluster": cluster, "task": task})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "TF_CONFIG is not JSON"),
        ("[]", "names no workers"),
        (config({}, {}), "names no workers"),
        (config({"worker": "a:1"}, {}), "worker is a list of 'host:port', found 'a:1'"),
        (config({"worker": ["a"]}, {}), "found ['a']"),
        (config({"worker": ["a:0"]}, {}), "found ['a:0']"),
        (config({"worker": WORKERS}, {}), "does not say which task this is"),
        (config({"worker": WORKERS}, {"type": "chief", "index": 0}), "chief 0"),
        (config({"worker": WORKERS}, {"type": "worker", "index": 2}), "worker 2, but the cluster"),
        (config({"worker": WORKERS}, {"type": "worker", "index": -1}), "worker -1"),
        (config({"worker": WORKERS, "ps": ["c:1"]}, {}), "tasks of type ps"),
    ],
)
def test_a_wrong_cluster_is_explained(text, said):
    with pytest.raises(UsageError) as caught:
        read_cluster(text)
    assert said in str(caught.value)


def test_a_chief_is_the_first_worker():
    parts = {"worker": WORKERS, "chief": ["c:1"]}
    assert read_cluster(config(parts, {"type": "chief", "index": 0})).is_chief
    second = read_cluster(config(parts, {"type": "worker", "index": 0}))
    assert second == Cluster(("c:1", "a:2222", "b:2222"), 1)
    assert read_cluster(second.to_json()) == second


def test_workers_wait_until_they_have_seen_one_another():
    addresses = free_addresses(3)
    done = Barrier(3)

    def work(index):
        wait_for_all(Cluster(addresses, index), seconds=20)
        # The port is free again for TensorFlow, which goes on to answer.
        with socket.create_server(("127.0.0.1", int(addresses[index].rpartition(":")[2]))):
            done.wait(timeout=20)

    with ThreadPoolExecutor(3) as pool:
        for worker in [pool.submit(work, index) for index in range(3)]:
            worker.result(timeout=20)


def test_who_does_not_answer_is_named():
    addresses = free_addresses(3)
    with socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))) as there:
        Thread(target=lambda: there.accept()[0].close(), daemon=True).start()
        with pytest.raises(TfappError, match=f"no answer from {addresses[2]} within") as caught:
            wait_for_all(Cluster(addresses, 0), seconds=0.5)
    assert addresses[1] not in str(caught.value)


def test_a_taken_port_is_named():
    (address,) = free_addresses(1)
    port = address.rpartition(":")[2]
    with (
        socket.create_server(("", int(port))),
        pytest.raises(UsageError, match=f"port {port} of this worker cannot be opened"),
    ):
        wait_for_all(Cluster((address, "b:1"), 0), seconds=1)


@pytest.mark.parametrize(
    ("batch_size", "replicas", "said"),
    [(3, 2, "Use 2 or 4"), (1, 2, "Use 2."), (64, 3, "Use 63 or 66"), (2, 4, "Use 4.")],
)
def test_a_batch_that_cannot_be_shared_is_refused_with_one_that_can(batch_size, replicas, said):
    with pytest.raises(UsageError, match=said):
        check_batch(batch_size, replicas)
    check_batch(6, replicas if replicas < 4 else 3)


def test_fixed_shapes_need_batches_that_come_out_even():
    check_even(96, 12)
    with pytest.raises(UsageError, match="of 97 training examples 1 are left over"):
        check_even(97, 12)
    assert even_batch_size(120, 64, 8) == 40
    with pytest.raises(UsageError, match="121 validation examples"):
        even_batch_size(121, 64, 8)


def test_auto_takes_what_there_is(monkeypatch):
    assert find_place("auto").name == "one"
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS[:1]}, {"type": "worker", "index": 0}))
    assert find_place("auto").name == "one"
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}, {"type": "worker", "index": 1}))
    seen = find_place("auto", connect=False)
    assert (seen.name, seen.reason) == ("multiworker", "2 workers in TF_CONFIG")
    assert find_place("one").name == "one"
    monkeypatch.setenv("TPU_NAME", "mine")
    assert find_place("auto", connect=False).name == "tpu"
    monkeypatch.delenv("TPU_NAME")
    monkeypatch.delenv("TF_CONFIG")
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
    logical = [tf.config.LogicalDevice(f"/device:GPU:{i}", "GPU") for i in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: logical)
    made = []
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", made.append)
    place = find_place("auto")
    assert (place.name, place.reason) == ("mirrored", "2 GPUs")
    assert made == [["GPU:0", "GPU:1"]]


def test_a_tpu_that_is_not_there_is_named(monkeypatch):
    """No TPU is at hand: what Google's library says is played by a stand-in."""

    def refuse(tpu):
        raise ValueError(f"Could not find TPU {tpu}")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", refuse)
    monkeypatch.setenv("TPU_NAME", "nowhere")
    with pytest.raises(MissingError, match="the TPU 'nowhere' of TPU_NAME cannot be used"):
        find_place("auto")


class ThreePlaces:
    """Stands for a place with three replicas, of which only the number matters."""

    name, replicas, part, devices = "mirrored", 3, None, 3
    strategy = tf.distribute.get_strategy()


def test_several_replicas_take_the_streaming_loop_and_refuse_others(tmp_path):
    def parts_with(loop):
        settings = {"data.source": "iris", "data.batch_size": 12, "train.loop": loop}
        parts = assemble(load_config(overrides=settings), data_dir=tmp_path)
        return replace(parts, place=ThreePlaces())

    step = lambda *batch: tf.constant(True)  # noqa: E731
    choice = choose_loop(parts_with("auto"), step)
    assert (choice.name, choice.reason) == ("streaming", "3 replicas share each batch")
    for loop in ("resident", "streaming_xla", "eager"):
        with pytest.raises(UsageError, match=f"{loop}.*mirrored.*trains on 3"):
            choose_loop(parts_with(loop), step)


class Summed(keras.losses.SparseCategoricalCrossentropy):
    def __init__(self) -> None:
        super().__init__(from_logits=True, reduction="sum")


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"train.loss": "dice"}, "'dice' is no mean over examples"),
        ({"train.loss": f"{__name__}:Summed"}, "Summed' is no mean over examples"),
    ],
)
def test_a_loss_that_is_no_mean_of_its_parts_is_refused(tmp_path, settings, refusal):
    settings = {"data.source": "iris", "data.batch_size": 12} | settings
    parts = assemble(load_config(overrides=settings), data_dir=tmp_path)
    with pytest.raises(UsageError, match=refusal):
        build_step(replace(parts, place=ThreePlaces()))


def test_a_request_of_any_process_stops_all(monkeypatch):
    """The sum over processes is played by a stand-in that adds what another process says."""

    class Chief:
        is_chief = True

    chief = Together(Chief())
    other: list[float] = []
    monkeypatch.setattr(
        chief, "_sum", lambda own: [a + b for a, b in zip(map(float, own), other, strict=True)]
    )
    other[:] = [0, 0, 0, 0]
    assert chief.settle(7, None) == (7, None)
    other[:] = [0, 0, 0, 1]
    assert chief.settle(7, None) == (7, ExitCode.INTERRUPTED)
    assert chief.settle(7, ExitCode.TERMINATED) == (7, ExitCode.TERMINATED)
    assert chief.clock() < 60


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"train.loss": "dice"}, "'dice' is no mean over examples"),
        ({"train.loop": "eager"}, "eager.*mirrored.*trains on 3"),
        ({"data.batch_size": 64}, "Use 63 or 66"),
    ],
)
def test_a_plan_for_several_devices_refuses_what_they_would(
    tmp_path, monkeypatch, settings, refusal
):
    monkeypatch.setattr("tfapp.training.train.find_place", lambda *_, **__: ThreePlaces())
    settings = {"data.source": "iris", "data.batch_size": 12} | settings
    with pytest.raises(UsageError, match=refusal):
        plan_training(load_config(overrides=settings), runs=tmp_path / "runs")


def test_workers_that_are_not_connected_count_as_one_replica_each(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}, {"type": "worker", "index": 1}))
    seen = find_place("multiworker", connect=False)
    assert (seen.replicas, seen.workers, seen.devices, seen.is_chief) == (2, 2, 1, False)


def has_loopback_of_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return socket.has_dualstack_ipv6()
    except OSError:
        return False


@pytest.mark.skipif(not has_loopback_of_ipv6(), reason="this machine has no IPv6")
def test_workers_see_one_another_by_ipv4_and_ipv6():
    ports = [address.rpartition(":")[2] for address in free_addresses(3)]
    addresses = (f"[::1]:{ports[0]}", f"[::1]:{ports[1]}", f"127.0.0.1:{ports[2]}")
    done = Barrier(3)

    def work(index):
        wait_for_all(Cluster(addresses, index), seconds=5)
        there = ("", int(ports[index]))
        with socket.create_server(there, family=socket.AF_INET6, dualstack_ipv6=True):
            done.wait(timeout=20)

    with ThreadPoolExecutor(3) as pool:
        for worker in [pool.submit(work, index) for index in range(3)]:
            worker.result(timeout=20)


def test_a_strategy_that_fails_leaves_sigterm_as_it_was(monkeypatch):
    """What TensorFlow does to the handler is played by a stand-in."""

    def take_and_fail(cluster_resolver):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise RuntimeError("too late")

    monkeypatch.setattr(strategy, "wait_for_all", lambda cluster, seconds: None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", take_and_fail)
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}, {"type": "worker", "index": 0}))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(UsageError, match="comes too late"):
            find_place("multiworker")
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, before)
