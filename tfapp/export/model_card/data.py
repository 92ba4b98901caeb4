"""What the model was trained on: splits, classes, columns, and what is done to features."""

from __future__ import annotations

from collections.abc import Sequence

from tfapp.data.columns import input_names
from tfapp.data.splits import Column, DataInfo
from tfapp.export.model_card.markdown import Markdown, Rows, Table, code
from tfapp.training.restore import Counts, TrainedModel, read_counts

_MOST_CLASSES = 30
_MOST_COLUMNS = 50


def data_rows(trained: TrainedModel) -> Rows:
    """Returns source, task, shape, scaling and fingerprint."""
    info, config = trained.predictor.info, trained.config
    return [
        ("Source", code(config.data.source)),
        ("Task", info.task),
        ("One example", f"{_shape(info)}, {info.feature_dtype}"),
        ("Label", None if info.label is None else code(info.label)),
        ("Classes", len(info.classes) or None),
        ("Preprocessing", _preprocessing(trained)),
        ("Fingerprint of the training split", Markdown(f"SHA-256 {code(info.fingerprint)}")),
    ]


def split_table(trained: TrainedModel) -> Table | None:
    """Returns the sizes of the splits as header and rows, by class where there are not many."""
    counts, classes = read_counts(trained.run), trained.predictor.info.classes
    if not counts.sizes:
        return None
    names = list(counts.sizes)
    sizes: list[object] = [counts.sizes[name] for name in names]
    if not classes:
        return [*names], [sizes]
    known = all(name in counts.classes for name in names)
    by_class = [
        [name, *(counts.classes[split][index] for split in names)]
        for index, name in enumerate(classes if known and len(classes) <= _MOST_CLASSES else ())
    ]
    return ["class", *names], [*by_class, ["all", *sizes]]


def class_range(trained: TrainedModel) -> tuple[int, int] | None:
    """Returns the least and the most training examples of a class, if they are not in the table."""
    counts: Counts = read_counts(trained.run)
    if len(trained.predictor.info.classes) <= _MOST_CLASSES or "train" not in counts.classes:
        return None
    return min(counts.classes["train"]), max(counts.classes["train"])


def column_table(trained: TrainedModel) -> Table | None:
    """Returns the columns of a table: name, input, and what is done to it."""
    columns = trained.predictor.info.columns
    if not columns or len(columns) > _MOST_COLUMNS:
        return None
    scaling = trained.predictor.preprocess.config()
    texts = any(column.vocabulary is not None for column in columns)
    header: list[object] = ["column", "input", "holds"] if texts else ["column"]
    header += ["minus", "times"] if scaling["subtract"] else []
    rows = []
    for place, (column, name) in enumerate(zip(columns, input_names(columns), strict=True)):
        row: list[object] = [column.name]
        row += [code(name), _kind(column)] if texts else []
        if scaling["subtract"]:
            scaled = column.vocabulary is None
            row += [scaling[key][place] if scaled else "" for key in ("subtract", "multiply")]
        rows.append(row)
    return header, rows


def _kind(column: Column) -> str:
    return "a number" if column.vocabulary is None else f"one of {len(column.vocabulary)} texts"


def _shape(info: DataInfo) -> str:
    if len(info.feature_shape) == 3:
        height, width, channels = info.feature_shape
        return f"an image of {height} x {width} pixels and {_several(channels, 'channel')}"
    if info.columns:
        return _several(len(info.columns), "column")
    return f"an array of shape {list(info.feature_shape)}"


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _preprocessing(trained: TrainedModel) -> str:
    columns: Sequence[Column] = trained.predictor.info.columns or ()
    part = "channel" if len(trained.predictor.info.feature_shape) == 3 else "column"
    done = {
        "standard": f"the mean of each {part} is taken off and its deviation divided by",
        "minmax": f"each {part} is brought to 0 to 1 by its least and its greatest value",
    }.get(trained.config.data.scaling, "numbers are taken as they are")
    if done.startswith(("the", "each")):
        done += ", both those of the training split"
    if any(column.vocabulary is not None for column in columns):
        done += "; each text becomes a column of 0 and 1"
    return f"{done}. It is part of the SavedModel"
