"""Requests on model cards, sent as they stand there, and no example of the data in them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from model_card_for_tests import Section, card_of, train

from tfapp.evaluation import evaluate_run
from tfapp.export.saved_model import export_run

pytestmark = pytest.mark.usefixtures("read_back_here")


def body_of(lines: list[str], address: str) -> str:
    """Returns what the commands of a card would send."""
    *make, send = map(shlex.split, lines)
    assert (send[:2], send[3:]) == (["curl", "-d"], [address])
    if not make:
        return send[2]
    ((python, option, program, arrow, file),) = make
    assert (python, option, arrow, f"@{file}") == ("python3", "-c", ">", send[2])
    printed: list[str] = []
    exec(program, {"print": printed.append})
    return printed[0]


def ask(version: Path, section: Section) -> dict[str, np.ndarray]:
    """Sends the request of a card to the signature that it is for, as Serving would."""
    address = f"http://localhost:8501/v1/models/{version.parent.name}:predict"
    body = body_of(section.blocks[0].splitlines(), address)
    (instance,) = json.loads(body)["instances"]
    loaded = tf.saved_model.load(str(version))
    signature = loaded.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    named = instance if isinstance(instance, dict) else {next(iter(specs)): instance}
    inputs = {name: tf.constant([value], specs[name].dtype) for name, value in named.items()}
    return {name: values.numpy()[0] for name, values in signature(**inputs).items()}


def test_the_request_can_be_sent_and_is_answered_as_told(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "digits")
    section = card_of(exported.path)["How to ask it"]
    assert section.table("") == [
        ["input", "image", "[?, 8, 8, 1] uint8"],
        ["output", "probabilities", "[?, 10] float32"],
        ["output", "class_id", "[?] int64"],
    ]
    found = ask(exported.path, section)
    (told,) = json.loads(section.blocks[1])["predictions"]
    assert told["class_id"] == found["class_id"]
    np.testing.assert_allclose(told["probabilities"], found["probabilities"], rtol=1e-3)
    assert f"on {exported.examples} real examples" in section.text[-1]
    assert f"at most {exported.max_difference:.4g} of the largest" in section.text[-1]


def test_numbers_to_predict(tmp_path):
    table = tmp_path / "prices.csv"
    table.write_text("size,rooms,price\n" + "\n".join(f"{i},{i % 3},{9 * i}" for i in range(80)))
    run = train(tmp_path, data__source=str(table), data__label="price", data__task="regression")
    found = evaluate_run(run)
    exported = export_run(run, tmp_path / "prices")
    card = card_of(exported.path)
    assert card["Model details"].facts["Gives"] == "a number"
    assert "Classes" not in card["Training data"].facts
    assert card["Training data"].facts["Label"] == "price"
    assert card["Training data"].table("train") == [["61", "7", "12"]]
    told = {name: float(value) for name, value in card["Evaluation"].table("metric")}
    assert told == {name: pytest.approx(v, rel=1e-3) for name, v in found.metrics.items()}
    assert len(card["Evaluation"].tables) == 1
    assert not any("calibration" in line for line in card["What was not measured"].text)
    answered = ask(exported.path, card["How to ask it"])
    assert json.loads(card["How to ask it"].blocks[1])["predictions"] == [
        pytest.approx(answered["value"], rel=1e-3)
    ]


def test_texts_are_asked_for_by_the_names_of_their_inputs(tmp_path):
    table = tmp_path / "shop.csv"
    rows = [f"{i % 5},{['re d', 'its blue'][i % 2]},{i % 2}" for i in range(80)]
    table.write_text("\n".join(["size (cm),class,label", *rows]))
    exported = export_run(train(tmp_path, data__source=str(table)), tmp_path / "shop")
    card = card_of(exported.path)
    assert [row[:3] for row in card["Training data"].table("column")] == [
        ["size (cm)", "size_cm", "a number"],
        ["class", "class_", "one of 2 texts"],
    ]
    found = ask(exported.path, card["How to ask it"])
    (told,) = json.loads(card["How to ask it"].blocks[1])["predictions"]
    np.testing.assert_allclose(told["probabilities"], found["probabilities"], rtol=1e-3)


def test_no_example_of_the_data_gets_onto_the_card(tmp_path):
    table = tmp_path / "people.csv"
    rows = [f"{1000 + 7 * i}.25,{i % 2}" for i in range(60)]
    table.write_text("\n".join(["income,label", *rows]))
    text = (export_run(train(tmp_path, data__source=str(table)), tmp_path / "people").path) / (
        "model_card.md"
    )
    assert not [row for row in rows if row.split(",")[0] in text.read_text()]
