"""`tfapp.json`: where an exported model comes from, what it takes, a checksum of each file."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfapp.environment import read_environment
from tfapp.exported import CARD, sha256
from tfapp.runs import summarize_run
from tfapp.training.restore import TrainedModel


def write_card(folder: Path, trained: TrainedModel, signatures: dict[str, Any]) -> None:
    """Writes the card of a SavedModel into its folder, after all other files.

    Args:
        folder: The SavedModel.
        trained: What it was made from.
        signatures: Shapes and types of inputs and outputs by signature.
    """
    predictor = trained.predictor
    content = {
        "schema_version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": trained.run.name,
        "step": trained.step,
        "best": summarize_run(trained.run).best,
        "monitor": trained.config.train.monitor,
        "config": trained.config.model_dump(mode="json", exclude_none=True),
        "info": asdict(predictor.info),
        "signatures": signatures,
        "versions": read_environment().packages,
        "files": {
            str(file.relative_to(folder)): sha256(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    }
    (folder / CARD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
