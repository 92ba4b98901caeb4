"""How good the checkpoint was on which examples, if somebody has measured it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfapp.errors import UsageError
from tfapp.export.model_card.markdown import Markdown, Table, code
from tfapp.runs import Run
from tfapp.training.restore import TrainedModel

_FILE = "evaluation.json"
_MOST_CLASSES = 50
_MOST_COLUMNS = 20
_WORST = 10


@dataclass(frozen=True)
class Measured:
    """An evaluation as the card tells it.

    Attributes:
        examples: How many examples it was measured on.
        where: Which they are.
        held_out: Whether they are the test split of the data of training.
        elsewhere: Whether they are from another source.
        metrics: Loss and metrics by name.
        classes: Examples, precision and recall by class; of many classes those with least recall.
        all_classes: Whether that is all of them.
        confusion: True classes in rows, predicted ones in columns; `None` of many or no classes.
        mistakes: Instead of it: true class, predicted class and count of the most frequent ones.
    """

    examples: int
    where: Markdown
    held_out: bool
    elsewhere: bool
    metrics: Mapping[str, float]
    classes: Table | None
    all_classes: bool
    confusion: Table | None
    mistakes: Table | None


def read_evaluation(trained: TrainedModel) -> Measured | None:
    """Returns the run's last evaluation if it is of this checkpoint.

    Raises:
        UsageError: The file is not what `tfapp evaluate` writes.
    """
    content = trained.run.read_json(_FILE)
    if content.get("step") != trained.step:
        return None
    try:
        return _measured(content, trained)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{trained.run.path / _FILE} is damaged ({type(error).__name__}: {error}); write it"
            f" again with tfapp evaluate {shlex.quote(str(trained.run.path))}."
        ) from error


def last_evaluated(run: Run) -> int | None:
    """Returns the step that the run's last evaluation is of."""
    return run.read_json(_FILE).get("step")


def how_to_evaluate(trained: TrainedModel) -> list[str]:
    """Returns the commands after which the next version tells how good this checkpoint is."""
    run = shlex.quote(str(trained.run.path))
    return [f"tfapp {command} {run} --step {trained.step}" for command in ("evaluate", "export")]


def _measured(content: Mapping[str, Any], trained: TrainedModel) -> Measured:
    counts: list[list[int]] = content["confusion"]
    split, source = content["split"], content["source"]
    elsewhere = source != trained.config.data.source
    names = [str(score["name"]) for score in content["classes"]]
    few = 0 < len(names) <= _MOST_COLUMNS
    return Measured(
        examples=int(content["examples"]),
        where=_where(split, source, trained),
        held_out=split == "test" and not elsewhere,
        elsewhere=elsewhere,
        metrics={name: float(value) for name, value in content["metrics"].items()},
        classes=_class_table(content["classes"], counts),
        all_classes=len(names) <= _MOST_CLASSES,
        confusion=_confusion_table(counts, names) if few else None,
        mistakes=_mistakes_table(counts, names) if names and not few else None,
    )


def _where(split: str, source: str, trained: TrainedModel) -> Markdown:
    """Returns which examples these are, and what the training has seen of them."""
    named = f"all of {code(source)}" if split == "all" else f"the {split} split of {code(source)}"
    if source != trained.config.data.source:
        return Markdown(f"{named}. Training did not use this source.")
    seen = {
        "train": "It was trained on them.",
        "test": "They were neither trained on nor used to choose a checkpoint.",
        "all": "Examples of training may be among them.",
    }.get(split, "They were not trained on.")
    if split == "validation" and trained.config.train.monitor.startswith("val_"):
        seen = "They decided which checkpoint is the best."
    return Markdown(f"{named}. {seen}")


def _class_table(scores: Sequence[Mapping[str, Any]], counts: list[list[int]]) -> Table | None:
    if not scores:
        return None
    predicted = [sum(column) for column in zip(*counts, strict=True)]
    ranked = list(zip(scores, predicted, strict=True))
    if len(ranked) > _MOST_CLASSES:
        found = [pair for pair in ranked if pair[0]["examples"]]
        ranked = sorted(found, key=lambda pair: float(pair[0]["recall"]))[:_WORST]
    rows: list[list[object]] = [
        [
            str(score["name"]),
            int(score["examples"]),
            # 0 of 0 is no share: the file says 0 there.
            float(score["precision"]) if guesses else "never predicted",
            float(score["recall"]) if score["examples"] else "no examples",
        ]
        for score, guesses in ranked
    ]
    return ["class", "examples", "precision", "recall"], rows


def _confusion_table(counts: list[list[int]], names: list[str]) -> Table:
    rows: list[list[object]] = [[name, *row] for name, row in zip(names, counts, strict=True)]
    return ["true \\ predicted", *names], rows


def _mistakes_table(counts: list[list[int]], names: list[str]) -> Table | None:
    mistakes = [
        (count, names[true], names[predicted])
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    mistakes.sort(key=lambda mistake: -mistake[0])
    rows: list[list[object]] = [[true, guess, count] for count, true, guess in mistakes[:_WORST]]
    return (["true", "predicted", "times"], rows) if rows else None
