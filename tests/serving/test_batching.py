"""Batches of `--enable_batching`: who runs with whom, what is refused, and what each gets back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp.cores import usable_cores
from tfapp.serving.batching import Batching, BatchScheduler
from tfapp.serving.batching_options import BatchingOptions, read_batching
from tfapp.serving.calls import Call
from tfapp.serving.observing import BatchRecord, Observer, RequestRecord
from tfapp.serving.status import Code, ServingError

TWO = {"threads": 1, "max_batch_size": 4, "max_execution_size": 4}


class Seen(Observer):
    def __init__(self) -> None:
        self.batches: list[BatchRecord] = []

    def batch(self, record: BatchRecord) -> None:
        self.batches.append(record)


class Model:
    """Computes 2 x and the rows' number; waits before each run until it is let go."""

    def __init__(self, **options) -> None:
        self.gate = threading.Semaphore(0)
        self.runs: list[np.ndarray] = []
        self.seen = Seen()
        chosen = BatchingOptions(**options)
        self.scheduler = BatchScheduler(chosen, self.seen)
        self.batching = Batching(self.scheduler, "model", chosen)
        self.call = Call(("x:0",), ("y:0",), self._execute, declared=True, mixable=False)

    def _execute(self, *arrays: np.ndarray) -> list[np.ndarray]:
        assert self.gate.acquire(timeout=30)
        self.runs.append(arrays[0])
        return [2 * arrays[0]]

    def open(self) -> Model:
        self.gate.release(10_000)
        return self

    def ask(self, x, call: Call | None = None, record: RequestRecord | None = None):
        return self.batching.run(call or self.call, [np.asarray(x, np.float32)], record)

    def asked(self, pool: ThreadPoolExecutor, *requests):
        """Sends requests one after the other to a model that is busy."""
        futures = []
        for x in requests:
            before = self.waiting()
            futures.append(pool.submit(self.ask, x))
            until(lambda before=before: self.waiting() > before)
        return futures

    def waiting(self) -> int:
        return sum(len(b.pieces) for q in list(self.scheduler._queues) for b in list(q.batches))


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.001)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(40) as pool:
        yield pool


def busy(model: Model, pool: ThreadPoolExecutor):
    """Keeps the one thread of a model at work until its gate is opened."""
    first = pool.submit(model.ask, [[0.0]])
    until(lambda: first.running() and not model.scheduler._queues and model.waiting() == 0)
    time.sleep(0.05)
    return first


def test_what_waits_for_a_thread_runs_in_one_batch(pool):
    model = Model(threads=1)
    first = busy(model, pool)
    others = model.asked(pool, [[1.0]], [[2.0], [3.0]], [[4.0]])

    model.open()

    assert [f.result(20)[0].tolist() for f in others] == [[[2.0]], [[4.0], [6.0]], [[8.0]]]
    assert first.result(20)[0].tolist() == [[0.0]]
    assert [run.tolist() for run in model.runs] == [[[0.0]], [[1.0], [2.0], [3.0], [4.0]]]
    assert [list(batch.rows) for batch in model.seen.batches] == [[1], [1, 2, 1]]
    assert model.seen.batches[1].padded_rows == 4
    assert model.seen.batches[1].thread_pool == "batch_threads"


def test_what_nobody_waits_for_any_more_is_not_computed(pool):
    model = Model(threads=1)
    busy(model, pool)
    late = RequestRecord("GRPC", "Predict", deadline=time.monotonic() + 0.05)
    waits = [pool.submit(model.ask, [[float(n)]], None, late if n == 2 else None) for n in (1, 2)]
    until(lambda: model.waiting() == 2)
    time.sleep(0.1)
    model.open()
    with pytest.raises(ServingError, match=r"^Deadline exceeded before") as caught:
        waits[1].result(20)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert waits[0].result(20)[0].tolist() == [[2.0]]
    assert [run.tolist() for run in model.runs] == [[[0.0]], [[1.0]]]
    assert [list(batch.rows) for batch in model.seen.batches] == [[1], [1]]


def test_values_of_other_types_are_not_cast_to_be_put_together(pool):
    model = Model(threads=1)
    busy(model, pool)
    ask, arrays = model.batching.run, [np.array([[2**53 + 1]]), np.array([[0.5]], np.float32)]
    waits = [pool.submit(ask, model.call, [array], None) for array in (*arrays, arrays[0])]
    until(lambda: model.waiting() == 3)
    model.open()
    found = [wait.result(20)[0] for wait in waits]
    assert [value.dtype for value in found] == [np.int64, np.float32, np.int64]
    assert found[0].tolist() == [[2**54 + 2]]


def test_texts_are_filled_up_with_empty_ones(pool):
    model = Model(threads=1, pad=True)
    busy(model, pool)
    call = Call(("x:0",), ("y:0",), lambda x: [x], declared=True, mixable=False)
    texts = [np.empty((1, 0), object), np.array([[b"a", b"b"]], object)]
    waits = []
    for number, text in enumerate(texts):
        waits.append(pool.submit(model.batching.run, call, [text], None))
        until(lambda number=number: model.waiting() == number + 1)
    model.open()
    assert [wait.result(20)[0].tolist() for wait in waits] == [[[b"", b""]], [[b"a", b"b"]]]


def test_a_batch_has_no_more_rows_than_it_may(pool):
    model = Model(**TWO)
    busy(model, pool)
    others = model.asked(pool, [[1.0]] * 3, [[2.0]] * 2, [[3.0]] * 2)

    model.open()

    assert all(f.result(20) for f in others)
    assert [len(run) for run in model.runs] == [1, 3, 4]


def test_a_request_of_too_many_rows_is_refused():
    with pytest.raises(ServingError, match="Task size 5 is larger than maximum input batch size 4"):
        Model(**TWO).ask([[1.0]] * 5)


def test_a_full_queue_refuses_and_goes_on_later(pool):
    model = Model(**TWO, max_enqueued_batches=2)
    busy(model, pool)
    others = model.asked(pool, [[1.0]] * 4, [[2.0]] * 3)

    with pytest.raises(
        ServingError,
        match=r"queue to which this task was submitted is full;"
        " currently 2 batches enqueued and max_enqueued_batches is 2",
    ) as caught:
        model.ask([[3.0]] * 2)
    assert caught.value.code is Code.UNAVAILABLE
    others += model.asked(pool, [[4.0]])  # the last batch has room for one
    model.open()

    assert all(f.result(20) for f in others)
    assert model.ask([[5.0]])[0].tolist() == [[10.0]]


def test_the_first_request_waits_no_longer_than_the_timeout(pool):
    model = Model(threads=1, timeout_seconds=0.3).open()
    began = time.monotonic()
    answers = [pool.submit(model.ask, [[float(i)]]) for i in range(3)]

    assert [f.result(20)[0].tolist() for f in answers] == [[[0.0]], [[2.0]], [[4.0]]]
    assert time.monotonic() - began > 0.25
    assert [len(run) for run in model.runs] == [3]


def test_a_full_batch_does_not_wait_for_the_timeout(pool):
    model = Model(**TWO, timeout_seconds=1000).open()
    answers = [pool.submit(model.ask, [[float(i)]] * 2) for i in range(2)]

    assert all(f.result(20) for f in answers)


def test_batches_are_filled_up_to_an_allowed_size(pool):
    model = Model(**TWO, allowed_sizes=(2, 4)).open()
    record = RequestRecord("REST", "predict")

    answer = model.ask([[1.0], [2.0], [3.0]], record=record)

    assert answer[0].tolist() == [[2.0], [4.0], [6.0]]
    assert model.runs[0].tolist() == [[1.0], [2.0], [3.0], [1.0]]  # the first row once more
    assert (record.rows, record.batch_rows) == (3, 4)
    assert model.seen.batches[0].padded_rows == 4
    assert len(model.ask([[1.0]] * 2)[0]) == 2
    assert len(model.runs[1]) == 2


def test_rows_of_other_shapes_fail_together_unless_they_are_padded(pool):
    plain, padded = Model(threads=1), Model(threads=1, pad=True)
    shapes = ([[1.0, 2.0]], [[3.0], [4.0]])
    for model in (plain, padded):
        busy(model, pool)
    refused, filled = (model.asked(pool, *shapes) for model in (plain, padded))
    plain.open()
    padded.open()

    for future in refused:
        with pytest.raises(ServingError, match="'x:0' from different tasks have different shapes") \
                as caught:  # fmt: skip
            future.result(20)
        assert caught.value.code is Code.FAILED_PRECONDITION
    assert filled[0].result(20)[0].tolist() == [[2.0, 4.0]]
    assert padded.runs[1].tolist() == [[1.0, 2.0], [3.0, 3.0], [4.0, 3.0]]
    # As TensorFlow Serving does, answers keep the shape of the batch.
    assert filled[1].result(20)[0].tolist() == [[6.0, 6.0], [8.0, 6.0]]


def test_texts_are_padded_too(pool):
    model = Model(threads=1, pad=True, timeout_seconds=1000, max_execution_size=2)
    call = Call(("x:0",), ("y:0",), lambda x: [x], declared=True, mixable=False)
    texts = [np.array(rows, object) for rows in ([[b"a"]], [[b"b", b"c"]])]

    answers = [pool.submit(model.batching.run, call, [text], None) for text in texts]

    assert answers[0].result(20)[0].tolist() == [[b"a", b"a"]]
    assert answers[1].result(20)[0].tolist() == [[b"b", b"c"]]


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ([np.float32(1)], "must have at least one dimension"),
        ([np.zeros(2), np.zeros(3)], "must have equal 0th-dimension size"),
    ],
    ids=["scalar", "unequal"],
)
def test_inputs_without_common_rows_are_refused(arrays, text):
    model = Model(threads=1).open()

    with pytest.raises(ServingError, match=f"Batching Run.. input tensors {text}") as caught:
        model.batching.run(model.call, arrays, None)

    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_signature_without_inputs_is_refused():
    model = Model(threads=1).open()

    with pytest.raises(
        ServingError, match=r"^Batching Run\(\) must have at least one input"
    ) as found:
        model.batching.run(model.call, [], None)

    assert found.value.code is Code.INVALID_ARGUMENT


def test_what_comes_after_the_end_does_not_wait_for_ever(pool):
    model = Model(threads=1)
    busy(model, pool)
    waiting = model.asked(pool, [[1.0]])
    model.scheduler.close()

    with pytest.raises(ServingError, match=r"^The server is being closed\.$") as found:
        model.ask([[2.0]])

    assert found.value.code is Code.UNAVAILABLE
    model.open()
    assert [answer.result(20)[0].tolist() for answer in waiting] == [[[2.0]]]


@pytest.mark.parametrize(
    ("output", "text"),
    [(np.float32(1), "Batched output tensor has 0 dimensions"),
     (np.zeros(1), "Batched output tensor's 0th dimension does not equal the sum")],
    ids=["scalar", "constant"],
)  # fmt: skip
def test_outputs_without_a_row_for_each_are_refused(output, text):
    model = Model(threads=1)
    call = Call(("x:0",), ("y:0",), lambda x: [output], declared=True, mixable=False)

    with pytest.raises(ServingError, match=text) as caught:
        model.ask([[1.0], [2.0]], call)

    assert caught.value.code is Code.FAILED_PRECONDITION


def test_what_is_no_signature_runs_by_itself_and_that_is_logged_once(caplog):
    model = Model(threads=1).open()
    call = Call(("x:0",), ("y:0",), lambda x: [x + 1], declared=False, mixable=True)

    assert model.ask([[1.0]], call)[0].tolist() == [[2.0]]
    assert model.ask(1.0, call)[0].tolist() == 2.0
    assert caplog.text.count("doesn't match any declared signature") == 1
    assert model.seen.batches == []


def test_signatures_do_not_share_a_batch(pool):
    model = Model(threads=1)
    other = Call(("x:0",), ("z:0",), lambda x: [3 * x], declared=True, mixable=False)
    busy(model, pool)
    one = model.asked(pool, [[1.0]])[0]
    two = pool.submit(model.ask, [[1.0]], other)
    model.open()

    assert (one.result(20)[0].tolist(), two.result(20)[0].tolist()) == ([[2.0]], [[3.0]])
    assert {len(batch.rows) for batch in model.seen.batches} == {1}


def test_a_batch_that_breaks_is_told_to_all_and_the_thread_lives_on():
    model = Model(threads=1).open()

    def broken(x):
        raise KeyError("unforeseen")

    call = Call(("x:0",), ("z:0",), broken, declared=True, mixable=False)
    with pytest.raises(ServingError, match="unforeseen") as caught:
        model.ask([[1.0]], call)

    assert caught.value.code is Code.INTERNAL
    assert model.ask([[1.0]])[0].tolist() == [[2.0]]


def test_large_requests_are_split_where_that_is_asked_for(pool):
    model = Model(threads=2, max_batch_size=20, split=True, max_execution_size=4).open()
    x = np.arange(15, dtype=np.float32)[:, None]
    record = RequestRecord("REST", "predict")

    answer = model.ask(x, record=record)

    np.testing.assert_array_equal(answer[0], 2 * x)
    assert sorted(len(run) for run in model.runs) == [3, 4, 4, 4]
    assert record.rows == 15


def test_a_split_request_fills_the_open_batch_first(pool):
    model = Model(threads=1, max_batch_size=20, split=True, max_execution_size=4)
    busy(model, pool)
    others = model.asked(pool, [[1.0]], [[float(i)] for i in range(6)])
    model.open()

    assert others[1].result(20)[0].tolist() == [[2.0 * i] for i in range(6)]
    assert [len(run) for run in model.runs] == [1, 4, 3]


def test_a_request_without_rows_is_answered():
    assert Model(threads=1).open().ask(np.zeros((0, 2)))[0].shape == (0, 2)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=30),
    limit=st.integers(6, 12),
    split=st.booleans(),
)
def test_each_request_gets_its_own_rows(sizes, limit, split):
    execution = 4 if split else limit
    model = Model(threads=2, max_batch_size=limit, max_execution_size=execution, split=split,
                  max_enqueued_batches=1000).open()  # fmt: skip
    requests = [np.arange(n)[:, None] + 100.0 * i for i, n in enumerate(sizes)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(model.ask, requests))
    model.scheduler.close()

    for x, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer[0], 2 * x)
    assert all(len(run) <= execution for run in model.runs)
    assert sum(map(sum, (batch.rows for batch in model.seen.batches))) == sum(sizes)


# The file


def test_a_file_is_read_with_the_defaults_of_tensorflow(tmp_path):
    file = tmp_path / "batching.config"
    file.write_text("")
    assert read_batching(file, flag="--x") == BatchingOptions()
    assert BatchingOptions().threads == usable_cores()
    file.write_text(
        "max_batch_size { value: 32 } batch_timeout_micros: { value: 1500 },"
        " num_batch_threads { value: 3 } thread_pool_name { value: 'mine' }"
        " allowed_batch_sizes: 8 allowed_batch_sizes: [16, 32] pad_variable_length_inputs: true"
        " max_enqueued_batches { value: 7 }"
    )
    assert read_batching(file, flag="--x") == BatchingOptions(
        max_batch_size=32, timeout_seconds=0.0015, threads=3, pool_name="mine",
        allowed_sizes=(8, 16, 32), pad=True, max_enqueued_batches=7, max_execution_size=32,
    )  # fmt: skip


def test_the_threads_of_a_version_are_those_of_the_server(tmp_path):
    file = tmp_path / "batching_params.pbtxt"
    file.write_text("max_batch_size { value: 2 } num_batch_threads { value: 99 }")
    server = BatchingOptions(threads=3, pool_name="all")

    found = read_batching(file, server, flag="--x")

    assert (found.max_batch_size, found.threads, found.pool_name) == (2, 3, "all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4",
         "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected"
         " 8"),
        ("allowed_batch_sizes: 4", "last entry was 4; expected 1000"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 8]",
         "entries must be monotonically increasing and positive; they are 8, 8"),
        ("max_batch_size { value: 0 }", "max_batch_size must be 1 or more; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be 0 or more"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be 1 or more; was 0"),
        ("max_batch_size: 8", ":1:"),
        ("max_batch_sise { value: 8 }", "Did you mean 'max_batch_size'?"),
        ("enable_large_batch_splitting { value: true } max_batch_size { value: 4 }"
         " max_execution_batch_size { value: 8 }", "max_execution_batch_size must not be larger"),
        ("enable_large_batch_splitting { value: true } max_batch_size { value: 8 }"
         " max_execution_batch_size { value: 4 } allowed_batch_sizes: 8",
         "must match max_execution_batch_size; last entry was 8; expected 4"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_mistake(tmp_path, text, message):
    file = tmp_path / "batching.config"
    file.write_text(text)

    with pytest.raises(ServingError) as caught:
        read_batching(file, flag="--batching_parameters_file")

    assert caught.value.code is Code.INVALID_ARGUMENT
    assert message in str(caught.value)
    assert "batching.config" in str(caught.value)
