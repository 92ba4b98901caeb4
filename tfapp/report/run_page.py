"""The report of one run, as a page: what it is, how it learned, what it gets right and wrong."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tfapp.errors import TfappError
from tfapp.report import measured_tables as tables
from tfapp.report.figures import confusion_plot, curves_plot, is_image
from tfapp.report.measured_figures import calibration_plot, images_plot, norms_plot, numbers_plot
from tfapp.report.page import Block, Code, Columns, Page, Section, Table, Text, Verdict
from tfapp.report.plots import Plot, picture, pictures
from tfapp.report.words import counted, disk_size, duration, shown
from tfapp.runs import Run, RunSummary, flatten, summarize_run
from tfapp.trials import has_search, read_search

if TYPE_CHECKING:  # need TensorFlow, which a page does not
    from tfapp.data.splits import DataInfo
    from tfapp.report.measured import Answers, Measurements

_CURVES = (
    "Values of train are means over an epoch while the weights were changing, with dropout; those"
    " of validation are measured at its end."
)
_CALIBRATION = (
    "Of the examples of which a calibrated model says 0.8, eight in ten are right: its bars end on"
    " the dashed line. The expected calibration error is the mean distance between accuracy and"
    " probability, each bin weighted by its examples. Source: C. Guo et al. 2017, On Calibration of"
    " Modern Neural Networks, section 2."
)
_BATCH = (
    "The gradients are those of the training loss at the best checkpoint, on the first batch of"
    " training: {examples}, with dropout and class weights as in training."
)
_NO_GRADIENTS = "Gradients need the data, which is not there."
# Of what `environment.json` holds, where its keys are short.
_NAMES = {"cpus": "cores", "memory_mb": "memory in MB", "git": "git commit"}
_SEARCHED = "searched, not trained"
_KINDS: Mapping[str, Literal["ok", "differs", "missing"]] = {
    "done": "ok",
    "stopped early": "ok",
    "running": "missing",
    "interrupted": "missing",
    _SEARCHED: "missing",
}


def is_trained(run: Run) -> bool:
    """Tells whether a run has a checkpoint, so that something can be measured."""
    return any(run.checkpoints.glob("step-*"))


def run_plots(run: Run, measured: Measurements | None) -> dict[str, Plot]:
    """Returns every figure that a run has something for, by what it shows.

    Args:
        run: It may still be going on.
        measured: `None` if nothing was.
    """
    found: dict[str, Plot | None] = {"curves": curves_plot(run)}
    if measured and measured.info and is_image(measured.info.feature_shape) and measured.survey:
        images = tables.sample_images(measured.survey, measured.info)
        told = f"Examples of {measured.info.source}, {measured.survey.split}"
        found["samples"] = images_plot("samples", images, told)
    if measured and measured.info and (answers := measured.answers):
        split = answers.evaluation.split
        found["confusion"] = confusion_plot(answers.evaluation)
        if answers.calibration:
            found["calibration"] = calibration_plot(answers.calibration, split)
        else:
            found["numbers"] = numbers_plot(answers.true, answers.predicted, split)
        if answers.mistakes and is_image(measured.info.feature_shape):
            images = tables.mistake_images(answers, measured.info)
            told = f"Worst mistakes of {split}"
            found["mistakes"] = images_plot(f"mistakes-{split}", images, told)
    if measured and measured.norms:
        found["norms"] = norms_plot(measured.norms)
    return {name: plot for name, plot in found.items() if plot}


def run_page(
    run: Run, measured: Measurements | None, plots: Mapping[str, Plot], footer: str
) -> Page:
    """Returns the page of one run.

    Args:
        run: It may still be going on.
        measured: `None` if nothing was.
        plots: As from `run_plots`.
        footer: The last line.
    """
    summary = summarize_run(run)
    state = _state(run, summary)
    sections = [Section("Summary", [_summary_table(run, summary, state, measured)])]
    if is_trained(run) or not has_search(run):
        sections += [
            Section("Learning curves", _curves(run, plots)),
            *_answers(run, measured, plots),
            *_data(measured, plots),
            *_norms(measured, plots),
        ]
    sections += [
        *_search(run),
        Section("Configuration", [_config(run)]),
        Section("Environment", [_environment(run)]),
    ]
    opening = Text(_opening(summary, measured) + _ending(run, summary))
    told: list[Block] = [Verdict(state, _KINDS.get(state, "differs")), opening]
    return Page(run.name, sections, told, footer)


def why_unmeasured(run: Run) -> tuple[str, ...]:
    """Returns why nothing is measured of a run without a checkpoint; nothing if none is due."""
    return () if has_search(run) else ("There is no checkpoint, so nothing is measured.",)


def _state(run: Run, summary: RunSummary) -> str:
    return _SEARCHED if has_search(run) and not is_trained(run) else summary.state


def _opening(summary: RunSummary, measured: Measurements | None) -> str:
    """Returns what was trained on what, and how good it is."""
    values = {} if summary.best is None else {f"best {summary.monitor}": summary.best}
    if measured and measured.answers:
        evaluation = measured.answers.evaluation
        values |= {f"{evaluation.split} {n}": value for n, value in evaluation.metrics.items()}
    listed = ", ".join(f"{name} {shown(value)}" for name, value in values.items())
    return f"{summary.model} on {summary.data}{listed and ': '}{listed}."


def _ending(run: Run, summary: RunSummary) -> str:
    """Returns why a run has no good end: the last line of its log."""
    if summary.state in _KINDS or not (run.path / "log.txt").exists():
        return ""
    lines = (run.path / "log.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    said = [line.partition(" ")[2] for line in lines if line.strip()]
    return f" The last line of its log: {said[-1]}" if said else ""


def _summary_table(
    run: Run, summary: RunSummary, state: str, measured: Measurements | None
) -> Table:
    rows = [
        ("state", f"{state}, {counted(summary.epoch, 'epoch')}, {counted(summary.step, 'step')}"),
        (f"best {summary.monitor or 'value'}", _best(run, summary)),
        ("time of training", duration(summary.seconds)),
        ("model", summary.model),
        ("trainable parameters", shown(run.read_json("status.json").get("parameters"))),
        ("data", summary.data),
    ]
    if measured and measured.survey and measured.survey.sizes:
        sizes = (f"{name} {size:,}" for name, size in measured.survey.sizes.items())
        rows.append(("examples", ", ".join(sizes)))
    if measured and measured.answers:
        evaluation, step = measured.answers.evaluation, shown(measured.step)
        about = f"{evaluation.split}, {counted(evaluation.examples, 'example')}, step {step}"
        named = evaluation.metrics.items()
        rows.append(("measured on", about))
        rows += [(f"{evaluation.split} {name}", shown(value)) for name, value in named]
    rows += [
        ("size of the checkpoints", disk_size(_bytes(run.checkpoints))),
        ("size of the run", disk_size(_bytes(run.path))),
        ("folder", str(run.path)),
    ]
    return Table(("run", run.name), rows, "What this run is")


def _best(run: Run, summary: RunSummary) -> str:
    if summary.best is None:
        return shown(None)
    step = (run.read_json("status.json").get("best") or {}).get("step")
    epochs = [row.get("epoch") for row in run.metrics() if row.get("step") == step]
    where = f" at epoch {epochs[0]}, step {step:,}" if epochs else ""
    return shown(summary.best) + where


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a run that goes on drops old checkpoints
            total += path.stat().st_size if path.is_file() else 0
    return total


def _curves(run: Run, plots: Mapping[str, Plot]) -> list[Block]:
    if "curves" not in plots:
        return [Text("No epoch is finished, so there are no curves.")]
    rows = [row for row in run.metrics() if row["split"] == "train"]
    about = _CURVES
    if rows:
        about += f" An epoch has {rows[0]['step'] // max(rows[0]['epoch'], 1):,} steps."
    rates = {row["learning_rate"] for row in rows if "learning_rate" in row}
    if len(rates) == 1:
        about += f" The learning rate was {shown(rates.pop())} throughout."
    return [*pictures(plots["curves"]), Text(about)]


def _answers(run: Run, measured: Measurements | None, plots: Mapping[str, Plot]) -> list[Section]:
    missing = measured.missing if measured else why_unmeasured(run)
    sections = [Section("Measurements", [Text(reason) for reason in missing])] if missing else []
    if measured is None or measured.answers is None or measured.info is None:
        return sections
    answers, info = measured.answers, measured.info
    if answers.evaluation.classes:
        sections += _classes(answers, plots)
    elif "numbers" in plots:
        sections.append(Section("Predicted and true", pictures(plots["numbers"])))
    else:
        sections.append(Section("Predicted and true", [Text("No prediction is finite.")]))
    return [*sections, _mistakes(answers, info, plots)]


def _classes(answers: Answers, plots: Mapping[str, Plot]) -> list[Section]:
    evaluation = answers.evaluation
    matrix = picture(plots["confusion"].drawings[0])
    confused = tables.confusions_table(evaluation)
    sections = [
        Section("Classes", [tables.classes_table(evaluation)]),
        Section("Confusion matrix", [Columns([matrix, confused]) if confused else matrix]),
    ]
    if answers.calibration:
        diagram = picture(plots["calibration"].drawings[0])
        bins = tables.bins_table(answers.calibration)
        sections.append(Section("Calibration", [Columns([diagram, bins]), Text(_CALIBRATION)]))
    return sections


def _mistakes(answers: Answers, info: DataInfo, plots: Mapping[str, Plot]) -> Section:
    evaluation = answers.evaluation
    if not answers.mistakes:
        return Section("Worst mistakes", [Text(f"Every example of {evaluation.split} is right.")])
    if info.classes:
        about = (
            f"The model is wrong on {answers.wrong:,} of {counted(evaluation.examples, 'example')}"
            f" of {evaluation.split}. Shown are those of the largest loss, the worst first."
        )
    else:
        about = f"The examples of {evaluation.split} of the largest loss, the worst first."
    if "mistakes" in plots:
        drawn = pictures(plots["mistakes"])
    else:
        drawn = [tables.mistakes_table(answers, info)]
    return Section("Worst mistakes", [Text(about), *drawn])


def _data(measured: Measurements | None, plots: Mapping[str, Plot]) -> list[Section]:
    if measured is None or measured.info is None or measured.survey is None:
        return []
    survey, info = measured.survey, measured.info
    blocks: list[Block] = [tables.splits_table(survey, info)] if survey.sizes else []
    if "samples" in plots:
        which = "The first examples of each class" if info.classes else "The first examples"
        blocks += [Text(f"{which} in {survey.split}:"), *pictures(plots["samples"])]
    else:
        blocks.append(tables.samples_table(survey, info))
    return [Section("Data", blocks)]


def _norms(measured: Measurements | None, plots: Mapping[str, Plot]) -> list[Section]:
    if measured is None or measured.norms is None:
        return []
    norms = measured.norms
    examples = counted(norms.examples, "example")
    batch = _BATCH.format(examples=examples) if norms.examples else _NO_GRADIENTS
    drawn = pictures(plots["norms"]) if "norms" in plots else []
    return [Section("Weights and gradients", [*drawn, tables.norms_table(norms, batch)])]


def _search(run: Run) -> list[Section]:
    if not has_search(run):
        return []
    try:
        search = read_search(run)
    except TfappError as error:
        return [Section("Search", [Text(f"The search cannot be shown: {error}")])]
    from tfapp.report.search_page import search_sections

    return search_sections(search)


def _config(run: Run) -> Code:
    text = (run.path / "config.toml").read_text(encoding="utf-8", errors="replace")
    return Code(text, "config.toml", "TOML")


def _environment(run: Run) -> Block:
    content = run.read_json("environment.json")
    if not content:
        return Text("The run ended before its environment was written down.")
    rows = []
    for key, value in flatten(content).items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        rows.append((_NAMES.get(key, key.removeprefix("packages.")), text or shown(None)))
    return Table(("what", "value"), rows, "What the run was trained on")
