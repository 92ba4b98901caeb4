"""`tfapp.json`: where an exported model comes from, what it takes, a checksum of each file."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tfapp.environment import read_environment
from tfapp.export.signatures import PREDICT
from tfapp.export.version import ExportedModel
from tfapp.exported import CARD, sha256
from tfapp.runs import summarize_run
from tfapp.training.restore import TrainedModel

# What a row of metrics.jsonl says besides metrics.
_NO_METRICS = ("split", "step", "epoch", "learning_rate")


def write_card(
    folder: Path, trained: TrainedModel, exported: ExportedModel, tolerance: float
) -> None:
    """Writes the card of a SavedModel into its folder, after all other files.

    Args:
        folder: The SavedModel.
        trained: What it was made from.
        exported: What came of it.
        tolerance: The largest difference that would have been accepted.
    """
    predictor = trained.predictor
    shapes = {"inputs": exported.inputs, "outputs": exported.outputs}
    content = {
        "schema_version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": exported.name,
        "version": exported.version,
        "run": trained.run.name,
        "step": trained.step,
        "best": summarize_run(trained.run).best,
        "monitor": trained.config.train.monitor,
        "config": trained.config.model_dump(mode="json", exclude_none=True),
        "info": asdict(predictor.info),
        "metrics": _metrics(trained),
        "platform": exported.platform,
        "precision": exported.precision,
        "batch_sizes": exported.batch_sizes,
        "signatures": dict.fromkeys(PREDICT, shapes),
        "other_signatures": [name for name in exported.signatures if name not in PREDICT],
        "check": {
            "examples": exported.examples,
            "tolerance": tolerance,
            "max_difference": exported.max_difference,
            "precision_difference": exported.precision_difference,
            "formats": exported.formats,
        },
        "versions": read_environment().packages,
        "files": {
            str(file.relative_to(folder)): sha256(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    }
    (folder / CARD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _metrics(trained: TrainedModel) -> dict[str, dict[str, float]]:
    """Returns loss and metrics of the epoch that the checkpoint closed, by split."""
    rows = [row for row in trained.run.metrics() if row["step"] == trained.step]
    return {
        row["split"]: {name: value for name, value in row.items() if name not in _NO_METRICS}
        for row in rows
    }
