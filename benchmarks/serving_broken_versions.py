"""Breaks what is in a model's folder in every way, while clients ask for the version that serves.

    python benchmarks/serving_broken_versions.py

New versions that cannot be loaded, one that fails its warm-up, one that is written slowly in its
place, one whose folder is renamed when it is whole, a base path that disappears and returns, a
version with a label that goes away. Exit code 0: no request failed, each version became what it
had to become, and the version before it answered until then.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from serving_clients import Asking, clients_of
from serving_load import Report, Server, folder, get, parser, wait_until, write_version
from tensorflow_serving.apis import prediction_log_pb2

# A version that is broken is tried twice, so that the program does not take minutes.
FLAGS = ("--max_num_load_retries=1", "--load_retry_interval_micros=200000")
_WARMUP = "assets.extra/tf_serving_warmup_requests"


def _truncate_graph(path: Path) -> None:
    file = path / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:-100])


def _replace_graph(path: Path) -> None:
    (path / "saved_model.pb").write_bytes(b"\xff" * 1000)


def _empty_graph(path: Path) -> None:
    (path / "saved_model.pb").write_bytes(b"")


def _remove_graph(path: Path) -> None:
    (path / "saved_model.pb").unlink()


def _remove_variables(path: Path) -> None:
    shutil.rmtree(path / "variables")


def _truncate_variables(path: Path) -> None:
    for file in (path / "variables").glob("variables.data*"):
        file.write_bytes(file.read_bytes()[:10])


def _fail_warmup(path: Path) -> None:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["nothing"].CopyFrom(tf.make_tensor_proto([1.0]))
    _write_warmup(path, log.SerializeToString())


def _break_warmup(path: Path) -> None:
    _write_warmup(path, b"\xff\xff\xff")


def _write_warmup(path: Path, record: bytes) -> None:
    (path / _WARMUP).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / _WARMUP)) as records:
        records.write(record)


BREAKS: dict[str, Callable[[Path], None]] = {
    "its graph is cut": _truncate_graph,
    "its graph is nonsense": _replace_graph,
    "its graph is empty": _empty_graph,
    "its graph is missing": _remove_graph,
    "its variables are missing": _remove_variables,
    "its variables are cut": _truncate_variables,
    "its warm-up fails": _fail_warmup,
    "its warm-up is no request": _break_warmup,
}


class Broken:
    """A model of which one version is served by a server with `FLAGS`, under clients that ask.

    Args:
        server: The server.
        base: Folder of the model; named as the model is.
        clients: How many.
        report: Where it is told.
    """

    def __init__(self, server: Server, base: Path, clients: int, report: Report) -> None:
        self._server, self._base, self._report = server, base, report
        self._allowed = {n for n, state in self._states().items() if state == "AVAILABLE"}
        self._next = max(self._states()) + 1
        self._asking = [
            Asking(client, seed, allowed=lambda: set(self._allowed))
            for seed, client in enumerate(clients_of(server, base.name, clients))
        ]
        for thread in self._asking:
            thread.start()

    def end(self) -> None:
        """Lets the clients end, and requires that nothing failed."""
        for thread in self._asking:
            thread.stop()
        wrong = [text for thread in self._asking for text in thread.wrong]
        answered = sum(thread.answered for thread in self._asking)
        self._report.tell(f"{answered} requests answered meanwhile")
        self._report.require(not wrong, f"no request failed: {len(wrong)} did {wrong[:2] or ''}")

    def fail(self, how: str, break_it: Callable[[Path], None]) -> None:
        """Adds a version that is broken: it ends, the one before it serves."""
        number, before = self._next, max(self._allowed)
        self._next += 1
        hidden = self._base.parent / f"made-{self._base.name}"
        hidden.mkdir()
        made = write_version(hidden, number)
        break_it(made)
        made.rename(self._base / str(number))
        hidden.rmdir()
        ended = wait_until(lambda: self._states().get(number) == "END")
        kept = self._states().get(before) == "AVAILABLE"
        self._report.require(ended and kept, f"{how}: it has ended, version {before} serves")
        shutil.rmtree(self._base / str(number))

    def mend(self) -> None:
        """Writes a version slowly in its place; when it is whole, it serves."""
        number = self._next
        self._next += 1
        source = write_version(self._base.parent, number)
        there = self._base / str(number)
        there.mkdir()
        self._allowed.add(number)
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            time.sleep(0.4)  # longer than between two tries: it has ended before it is whole
            (there / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, there / file.relative_to(source))
        shutil.rmtree(source)
        if not self._serves(number, 4.0):
            # As in TensorFlow Serving, one that has ended is looked at again when it returns.
            there.rename(self._base / f"whole-{number}")
            time.sleep(2.5)  # folders are looked into every second
            (self._base / f"whole-{number}").rename(there)
        self._report.require(
            self._serves(number), "written slowly in its place, then renamed: it serves"
        )
        self._only(number)

    def rename(self) -> None:
        """Renames a version that is whole into place."""
        number = self._next
        self._next += 1
        self._allowed.add(number)
        write_version(self._base, number)
        self._report.require(self._serves(number), "renamed when it is whole: it serves")
        self._only(number)

    def disappear(self, seconds: float = 3.0) -> None:
        """Takes the base path away and brings it back."""
        away = self._base.with_name(f"{self._base.name}-away")
        before = self._states()
        self._base.rename(away)
        time.sleep(seconds)
        same = self._states() == before
        away.rename(self._base)
        time.sleep(1.5)
        self._report.require(
            same and self._states() == before, "its folder disappears and returns: it serves"
        )

    def go_back(self) -> None:
        """Removes the version that serves while an older one is there."""
        serving, number = max(self._allowed), self._next
        self._next += 1
        self._allowed.add(number)
        write_version(self._base, number)
        self._serves(number)
        shutil.rmtree(self._base / str(number))
        self._report.require(self._serves(serving), "the newest is removed: the one before serves")
        self._only(serving)

    def _only(self, number: int) -> None:
        wait_until(lambda: all(self._states()[n] == "END" for n in self._states() if n != number))
        self._allowed.intersection_update({number})

    def _states(self) -> dict[int, str]:
        return self._server.states(self._base.name)

    def _serves(self, number: int, seconds: float = 60.0) -> bool:
        return wait_until(lambda: self._states().get(number) == "AVAILABLE", seconds)


def lose_labelled(server: Server, base: Path, report: Report) -> None:
    """Removes version 1 of a model, of which 1 and 2 are served and 1 is called `stable`."""
    path = f"/v1/models/{base.name}/labels/stable/metadata"
    report.require(get(server.rest, path)[0] == 200, "a version is served by its label")
    shutil.rmtree(base / "1")
    gone = wait_until(lambda: get(server.rest, path)[0] != 200)
    status, body = get(server.rest, path)
    said = f"{status} {body.decode()}"
    right = status == 404 and f"Servable not found for request: Specific({base.name}, 1)" in said
    report.require(gone and right, f"its label is answered when it has gone: {said[:120]}")
    states = server.states(base.name)
    report.require(states.get(2) == "AVAILABLE", "the other version serves")


def labelled_config(base: Path) -> str:
    """Returns the config of a model all of whose versions are served, 1 with a label."""
    return f"""config {{
      name: "{base.name}" base_path: "{base}" model_platform: "tensorflow"
      model_version_policy {{ all {{}} }}
      version_labels {{ key: "stable" value: 1 }}
    }}"""


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, clients=3).parse_args()
    report = Report()
    with folder() as made:
        base, labelled = made / "broken", made / "labelled"
        for path, numbers in ((base, (1,)), (labelled, (1, 2))):
            path.mkdir()
            for number in numbers:
                write_version(path, number)
        config = made / "models.config"
        plain = f'config {{ name: "broken" base_path: "{base}" model_platform: "tensorflow" }}'
        config.write_text(f"model_config_list {{ {plain} {labelled_config(labelled)} }}")
        words = (
            f"--model_config_file={config}",
            "--allow_version_labels_for_unavailable_models",
            *FLAGS,
            *arguments.flag,
        )
        with Server(made, words) as server:
            model = Broken(server, base, arguments.clients, report)
            for how, break_it in BREAKS.items():
                model.fail(how, break_it)
            model.rename()
            model.mend()
            model.disappear()
            model.go_back()
            model.end()
            lose_labelled(server, labelled, report)
            report.require("Traceback" not in server.log(), "no traceback in the log")
    report.end()


if __name__ == "__main__":
    main()
