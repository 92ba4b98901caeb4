"""Something that can be asked for predictions, whatever it was loaded from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfapp.data.splits import DataInfo
from tfapp.errors import UsageError
from tfapp.prediction.reading import Array, Reading
from tfapp.serving.client.address import is_url


@dataclass(frozen=True)
class Model:
    """Something that can be asked, whatever it was loaded from.

    Attributes:
        path: The run or SavedModel, or the URL of a served model.
        reading: How examples become raw features.
        batch_size: Examples asked for at a time: what it was trained with, so memory holds it; of
            a served model, what makes a request of moderate size.
        call: Raw features `[B, *feature_shape]` to named outputs: `probabilities`, or `value`.
        close: Gives back what is held, such as a connection; `call` takes it again.
    """

    path: Path | str
    reading: Reading
    batch_size: int
    call: Callable[[Array], Mapping[str, Array]]
    close: Callable[[], None] = lambda: None

    @property
    def info(self) -> DataInfo:
        """What it was trained on; of a served model, as much as its signature tells."""
        return self.reading.info

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def load_model(
    source: str | Path, *, runs: str | Path | None = None, step: int | None = None
) -> Model:
    """Loads a run, a SavedModel, or the newest version in a folder; or finds a served model.

    Args:
        source: A path, the name of a run, or a URL as `tfapp.serving.client.connect` takes it.
        runs: Folder of run directories; `settings` decides when omitted.
        step: Step of a run's checkpoint; the best one when omitted.

    Raises:
        MissingError: There is nothing of that name.
        ExportError: The SavedModel is damaged, or was not exported by tfapp.
        ServingError: The server refuses, or there is none.
    """
    if is_url(str(source)):
        from tfapp.prediction.served import served_model

        if step is not None:
            raise UsageError(f"step {step} is of a run; {source} serves what was exported.")
        return served_model(str(source))
    from tfapp.prediction.loaded import loaded_model

    return loaded_model(source, runs, step)
