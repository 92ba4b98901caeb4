"""Puts the facts of a card into its words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tfapp.errors import UsageError
from tfapp.export.model_card import data, evaluation, markdown, model, request, training
from tfapp.export.model_card.facts import Export

MODEL_CARD = "model_card.md"
INTENDED_USE = "intended_use.md"


def write_model_card(folder: Path, export: Export) -> None:
    """Writes `model_card.md` into a SavedModel: what it is, of what, how good, and how to ask it.

    Every number is from a file of the run or was measured while exporting. What is not known has
    no line; what was not measured is said in the last section.

    Args:
        folder: The SavedModel; its `tfapp.json` is to be written after this.
        export: What it was made from, and what came of it.

    Raises:
        UsageError: A file of the run is not what was written into it.
    """
    # A class may be named by what is no character, such as a file name can hold.
    content = render_model_card(export).encode(errors="replace")
    (folder / MODEL_CARD).write_bytes(content)


def render_model_card(export: Export) -> str:
    """Returns the card as Markdown, with everything that users named escaped."""
    environment = Environment(
        loader=PackageLoader("tfapp.export.model_card"),
        undefined=StrictUndefined,
        finalize=markdown.shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": markdown.code, "fenced": markdown.fenced}
    environment.globals |= {"listed": markdown.listed, "table": markdown.table}
    return environment.get_template(MODEL_CARD).render(_facts(export))


def read_intended_use(folder: Path) -> str:
    """Returns the owner's own words on a model; empty where there are none.

    They stand beside the versions, so that every later one takes them in.

    Args:
        folder: Folder of the model's versions.

    Raises:
        UsageError: The file is there but is no text.
    """
    file = folder / INTENDED_USE
    try:
        return file.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}); it holds your own words for the model card. Save it"
            " as text in UTF-8, or take it away."
        ) from error


def _facts(export: Export) -> dict[str, Any]:
    trained = export.trained
    search = training.search_of(trained.run)
    return {
        "export": export,
        "created": datetime.now(UTC).date().isoformat(),
        "intended_use": markdown.Markdown(export.intended_use),
        "intended_use_file": f"../{INTENDED_USE}",
        "config": trained.config,
        "classes": trained.predictor.info.classes,
        "model": model.model_rows(export),
        "layers": model.layer_rows(trained.predictor.model),
        "data": data.data_rows(trained),
        "splits": data.split_table(trained),
        "class_range": data.class_range(trained),
        "columns": data.column_table(trained),
        "training": training.training_rows(trained),
        "checkpoint": training.checkpoint_values(trained),
        "search": search and training.search_rows(search),
        "space": search and training.space_table(search, trained),
        "evaluation": evaluation.read_evaluation(trained),
        "last_evaluated": evaluation.last_evaluated(trained.run),
        "how_to_evaluate": "\n".join(evaluation.how_to_evaluate(trained)),
        "signature": request.signature_rows(export),
        "other_signatures": markdown.Markdown(request.other_signatures(export)),
        "request": "\n".join(request.request_lines(export)),
        "answer": request.answer(export),
    }
