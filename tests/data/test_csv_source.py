from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfapp.errors import DataError, MissingError, UnknownName

FLOWERS = "length,width,colour,label\n" + "".join(
    f"{i}.5,{i * 2},{'red' if i % 3 else 'blue'},{'rose' if i % 2 else 'tulip'}\n"
    for i in range(20)
)


def all_rows(splits):
    parts = (splits.train, splits.validation, splits.test)
    features = np.concatenate([part.features for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return features, labels


def test_columns_classes_and_codes(load, write):
    splits = load(write("flowers.csv", FLOWERS))
    assert splits.info.task == "classification"
    assert splits.info.classes == ("rose", "tulip")
    assert [c.name for c in splits.info.columns] == ["length", "width", "colour"]
    assert [c.vocabulary for c in splits.info.columns] == [None, None, ("blue", "red")]
    features, labels = all_rows(splits)
    assert features.dtype == np.float32
    assert labels.dtype == np.int32
    numbers = (features[:, 0] - 0.5).astype(int)
    assert sorted(numbers) == list(range(20))
    np.testing.assert_array_equal(features[:, 1], 2 * numbers)
    np.testing.assert_array_equal(features[:, 2], np.where(numbers % 3, 2, 1))
    np.testing.assert_array_equal(labels, np.where(numbers % 2, 0, 1))


def test_label_column_is_the_named_one_else_label_else_the_last(load, write):
    text = "label,a,b\n" + "".join(f"{i % 2},{i},{i % 3}\n" for i in range(12))
    path = write("t.csv", text)
    assert [c.name for c in load(path).info.columns] == ["a", "b"]
    assert [c.name for c in load(path, label="b").info.columns] == ["label", "a"]
    last = write("u.csv", text.replace("label", "c"))
    assert [c.name for c in load(last).info.columns] == ["c", "a"]


def test_whole_numbers_are_classes_when_few_and_targets_when_many(load, write):
    few = write("few.csv", "x,y\n" + "".join(f"{i},{1 + i % 3}\n" for i in range(30)))
    assert load(few).info.task == "classification"
    assert load(few).info.classes == ("1", "2", "3")
    assert set(load(few).train.labels) == {0, 1, 2}
    many = write("many.csv", "x,y\n" + "".join(f"{i},{i}\n" for i in range(30)))
    assert load(many).info.task == "regression"
    assert load(few, task="regression").train.labels.dtype == np.float32
    # 21 values, each often: one above the limit of 20.
    above = write("above.csv", "x,y\n" + "".join(f"{i},{i % 21}\n" for i in range(210)))
    assert load(above).info.task == "regression"
    assert len(load(above, task="classification").info.classes) == 21


def test_few_rows_of_different_whole_numbers_are_targets(load, write):
    path = write("ten.csv", "x,y\n" + "".join(f"{i},{i}\n" for i in range(10)))
    assert load(path).info.task == "regression"


def test_a_minority_of_numbers_leaves_a_column_of_texts(load, write):
    cells = ["7", "8", "9", "u", "v", "w"] * 4
    rows = "".join(f"{i},{cell},{i % 2}\n" for i, cell in enumerate(cells))
    vocabulary = load(write("t.csv", "n,code,label\n" + rows)).info.columns[1].vocabulary
    assert set(vocabulary) == set(cells)


def test_fractions_are_targets(load, write):
    path = write("r.csv", "x,y\n" + "".join(f"{i},{i % 2 + 0.25}\n" for i in range(30)))
    splits = load(path)
    assert splits.info.task == "regression"
    assert splits.info.classes == ()
    features, labels = all_rows(splits)
    np.testing.assert_array_equal(labels, features[:, 0] % 2 + 0.25)
    with pytest.raises(DataError, match=r"line 2: the label is 0.25, but classes are whole"):
        load(path, task="classification")


def test_texts_that_only_later_splits_have_get_code_zero(load, write):
    rows = "".join(f"{i},only{i},{i % 2}\n" for i in range(40))
    splits = load(write("t.csv", "n,word,label\n" + rows))
    vocabulary = splits.info.columns[1].vocabulary
    assert len(vocabulary) == splits.train.size
    words = [vocabulary[int(code) - 1] for code in splits.train.features[:, 1]]
    assert words == [f"only{int(n)}" for n in splits.train.features[:, 0]]
    assert not splits.test.features[:, 1].any()
    assert not splits.validation.features[:, 1].any()


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ["is empty"]),
        ("a,label\n", ["header row but no examples"]),
        ("label\n1\n2\n", ["one column only", "'label'"]),
        ("a;b\n1;2\n", ["line 1", "no commas"]),
        ("1,2\n3,4\n5,6\n", ["line 1", "header row"]),
        ("a,a\n1,2\n", ["two columns are named 'a'"]),
        ("a,,b\n1,2,3\n", ["a column has no name"]),
        ("a,label\n1,x\n2\n", ["line 3", "1 cells", "2"]),
        ("a,label\n1,x\n2,y\noops,x\n4,y\n", ["line 4", "'a'", "text 'oops'"]),
        ("a,label\n1,x\n\n,y\n3,x\n", ["line 4", "'a'", "empty cell"]),
        ("a,label\n1,x\nnan,y\n3,x\ninf,y\n", ["line 3", "'a'", "not finite", "'nan'", "2 cells"]),
        ("a,label\n1,2.5\n2,nan\n3,1.5\n", ["line 3", "'label'", "'nan'"]),
        ("a,label\n1,x\n2,\n3,y\n", ["line 3", "'label'", "empty cell"]),
        ("a,word,label\n1,u,x\n2,,y\n", ["line 3", "'word'", "empty cell"]),
        ("a,label\n1,x\n2,x\n3,x\n", ["'x'", "at least two classes"]),
        ("a,label\n1_0,x\n2,y\n3,x\n", ["line 2", "'a'", "'1_0'"]),
        ("a,label\n1,x\n2,y\n", ["too few"]),
    ],
)
def test_mistakes_in_a_table_name_line_and_column(load, write, text, facts):
    path = write("bad.csv", text)
    with pytest.raises(DataError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    for fact in [*facts, "bad.csv"]:
        assert fact in str(caught.value)


def test_line_numbers_count_quoted_line_breaks(load, write):
    path = write("q.csv", 'a,word,label\n1,"two\nlines",x\n2,w,y\nbad,w,x\n4,w,y\n')
    with pytest.raises(DataError, match="line 5, column 'a'"):
        load(path)


def test_unknown_label_column_names_the_nearest(load, write):
    with pytest.raises(UnknownName, match="Did you mean 'colour'") as caught:
        load(write("f.csv", FLOWERS), label="color")
    assert caught.value.exit_code == 2


def test_file_that_is_no_text_or_not_there(load, tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("größe,label\n1,a\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        load(path)
    with pytest.raises(MissingError, match=r"no file or folder .*none\.csv") as caught:
        load(tmp_path / "none.csv")
    assert caught.value.exit_code == 4


def test_classes_given_by_the_user_fix_order_and_number(load, write):
    path = write("f.csv", FLOWERS)
    splits = load(path, classes=["tulip", "rose", "iris"])
    assert splits.info.classes == ("tulip", "rose", "iris")
    _, labels = all_rows(splits)
    assert np.bincount(labels, minlength=3).tolist() == [10, 10, 0]
    with pytest.raises(DataError) as caught:
        load(path, classes=["tulip", "iris"])
    for fact in ("line 3", "'rose'", "10 such", "tulip, iris"):
        assert fact in str(caught.value)


def test_classes_name_numbers_by_value_or_by_position(load, write):
    path = write("n.csv", "x,label\n" + "".join(f"{i},{3 if i % 2 else 7}\n" for i in range(20)))
    by_value = load(path, classes=["7", "3"])
    features, labels = all_rows(by_value)
    np.testing.assert_array_equal(labels, features[:, 0] % 2)
    with pytest.raises(DataError, match="the label is 7, which is not a class"):
        load(path, classes=["seven", "three"])
    binary = write("b.csv", "x,label\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    features, labels = all_rows(load(binary, classes=["even", "odd"]))
    np.testing.assert_array_equal(labels, features[:, 0] % 2)


def test_contradictory_settings(load, write):
    path = write("f.csv", FLOWERS)
    with pytest.raises(DataError, match=r"data\.task is 'regression'"):
        load(path, task="regression", classes=["rose", "tulip"])
    with pytest.raises(DataError, match="the label is the text 'tulip'"):
        load(path, task="regression")
    with pytest.raises(DataError, match="at least two names, all of them different"):
        load(path, classes=["rose", "rose"])


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=6)
WORDS = CELLS.map(lambda text: "w" + text.strip())


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    numbers=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=8),
    words=st.lists(WORDS, min_size=2, max_size=4, unique=True),
)
def test_a_written_table_is_read_back(load, tmp_path, numbers, words):
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["number", "index", "word", "label"])
    for index, number in enumerate(numbers):
        word = words[index % len(words)]
        writer.writerow([repr(number), index, word, "ab"[index % 2]])
    path = tmp_path / "round.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    splits = load(path)
    vocabulary = splits.info.columns[2].vocabulary
    for split in (splits.train, splits.validation, splits.test):
        for (number, index, code), label in zip(split.features, split.labels, strict=True):
            assert number == np.float32(numbers[int(index)])
            assert splits.info.classes[label] == "ab"[int(index) % 2]
            if code:
                assert vocabulary[int(code) - 1] == words[int(index) % len(words)]
