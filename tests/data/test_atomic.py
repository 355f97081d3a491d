"""RecBole atomic files of any data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hsrl_gym.data.atomic import load_atomic
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.errors import HsrlError

INTER = "user_id:token item_id:token rating:float timestamp:float"
ROWS = ("u1 b 4 10", "u2 a 5 5", "u1 a 3 20", "u2 b 1 6", "u1 c 5 30", "u1 b 2 40")
ITEM = "item_id:token name:token_seq colour:token tags:token_seq price:float vector:float_seq"
ITEMS = ("a|The Apple|red|x y|1|0.5 2", "b|Bread|brown|y|3|1 -1", "c|Cherry|red||5|0 0", "d|Never Seen|blue|z|9|7 7")
USER = "user_id:token city:token age:float likes:token_seq"
USERS = ("u1|Rome|30|x y", "u2|Oslo||y", "u3|Rome|40|")


def write(path: Path, header: str, rows: Sequence[str], separator: str = "|") -> Path:
    lines = [header.replace(" ", "\t"), *(row.replace(separator, "\t") for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_all(folder: Path, inter: str = INTER, rows: Sequence[str] = ROWS, with_user: bool = True) -> Path:
    write(folder / "toy.inter", inter, rows, " ")
    write(folder / "toy.item", ITEM, ITEMS)
    if with_user:
        write(folder / "toy.user", USER, USERS)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(HsrlError) as error:
        load_atomic(folder, slate_size=2)
    assert "\n" not in str(error.value)
    return str(error.value)


def check_slates(log: InteractionLog) -> None:
    """u2: a, b at 5; u1: b, a at 10, then c, b at 30 after liking b. Items a, b, c are 1, 2, 3."""
    assert log.slate.tolist() == [[1, 2], [2, 1], [3, 2]]
    assert log.clicks.tolist() == [[1, 0], [1, 0], [1, 0]]
    assert log.history[:, -2:].tolist() == [[0, 0], [0, 0], [0, 2]]
    assert log.user.tolist() == [2, 1, 1]  # names that are no numbers count from 1


def test_ratings_by_hand(tmp_path: Path) -> None:
    log = load_atomic(str(write_all(tmp_path)), slate_size=2)
    check_slates(log)
    assert log.time.tolist() == [5, 10, 30]
    assert (log.name, log.n_items) == ("toy", 3)
    assert log.item_labels == ("", "The Apple", "Bread", "Cherry")


def test_what_counts_as_a_click(tmp_path: Path) -> None:
    log = load_atomic(write_all(tmp_path), slate_size=2, like_above=4.0)
    assert log.clicks.tolist() == [[1, 0], [0, 0], [1, 0]]
    rows = [f"{row} {int(i in (0, 1, 4))}" for i, row in enumerate(ROWS)]
    log = load_atomic(write_all(tmp_path, f"{INTER} label:float", rows), slate_size=2, like_above=-1)
    check_slates(log)  # the label goes before the rating


def test_item_features(tmp_path: Path) -> None:
    features = load_atomic(write_all(tmp_path), slate_size=2).item_features
    assert not features[0].any()
    # red, blue, brown (the most frequent first, then by name) | y, x, z | price | vector
    price = (np.array([1, 3, 5]) - 4.5) / np.std([1, 3, 5, 9])
    expected = [
        [1, 0, 0, 1, 1, 0, price[0], 0.5, 2],
        [0, 0, 1, 1, 0, 0, price[1], 1, -1],
        [1, 0, 0, 0, 0, 0, price[2], 0, 0],
    ]
    np.testing.assert_allclose(features[1:], expected, atol=1e-6)


def test_profiles(tmp_path: Path) -> None:
    log = load_atomic(write_all(tmp_path), slate_size=2)
    # city: Rome 1, Oslo 2; age, 35 is the mean for the one that is missing; likes y, x
    assert log.profile.tolist() == [[2, 35, 1, 0], [1, 30, 1, 1], [1, 30, 1, 1]]
    assert log.n_categorical == 1


def test_without_a_user_file(tmp_path: Path) -> None:
    log = load_atomic(write_all(tmp_path, with_user=False), slate_size=2)
    assert log.slate.tolist() == [[1, 2], [2, 1], [3, 2]]
    assert log.profile.tolist() == [[0], [0], [0]]
    assert log.n_categorical == 0


def test_rare_values_share_no_column(tmp_path: Path) -> None:
    write_all(tmp_path, with_user=False)
    items = [f"{name}|{name}|c{i}|t{i // 2}|1|0" for i, name in enumerate([*"abc", *map(str, range(140))])]
    write(tmp_path / "toy.item", ITEM, items)
    users = [f"u{i}|city {i}|1|" for i in range(1, 71)]
    write(tmp_path / "toy.user", USER, users)
    log = load_atomic(tmp_path, slate_size=2)
    assert log.item_features.shape == (4, 64 + 64 + 1 + 1)
    assert log.profile[:, 0].max() <= 64


def test_fractions_of_seconds_keep_their_order(tmp_path: Path) -> None:
    rows = [row[: row.rindex(" ")] + f" {1e9 + float(row.split()[-1]) / 100}" for row in ROWS]
    log = load_atomic(write_all(tmp_path, rows=rows), slate_size=2)
    check_slates(log)
    assert log.time.tolist() == [0, 2, 4]


def test_without_timestamps_the_order_of_the_file_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row[: row.rindex(" ")] for row in ROWS]
    with caplog.at_level(logging.WARNING):
        log = load_atomic(write_all(tmp_path, "user_id:token item_id:token rating:float", rows), slate_size=2)
    assert "toy.inter has no field 'timestamp': the order of the file is used" in caplog.text
    assert log.slate.tolist() == [[2, 1], [1, 2], [3, 2]]
    assert log.time.tolist() == [0, 1, 4]


def test_clicks_alone_are_refused_with_what_to_do(tmp_path: Path) -> None:
    rows = [" ".join(row.split()[:2]) for row in ROWS]
    said = refused(write_all(tmp_path, "user_id:token item_id:token", rows))
    assert "expected 'rating' or 'label' among them: without one every interaction is a click" in said
    assert "add what was shown and not taken, with label:float 0 or 1" in said


@pytest.mark.parametrize(
    ("suffix", "old", "new", "line", "message"),
    [
        ("inter", "u1\ta\t3", "u1\tz\t3", 4, "got item_id 'z', expected one that toy.item lists"),
        ("inter", "u1\ta\t3", "u9\ta\t3", 4, "got user_id 'u9', expected one that toy.user lists"),
        ("inter", "u1\ta\t3", "u1\ta\tx", 4, "got rating 'x', expected finite numbers"),
        ("inter", "u1\ta\t3\t20", "u1\ta", 4, r"got 2 fields in 'u1\ta', expected 4 between '\t'"),
        (
            "inter",
            "rating:float",
            "rating:number",
            1,
            "got field 'rating:number', expected name:kind with a kind of token",
        ),
        ("inter", "item_id:token", "item:token", 1, "got no field 'item_id', expected it"),
        ("item", "item_id:token", "item:token", 1, "got no field 'item_id', expected it"),
        ("item", "\nb\t", "\na\t", 3, "got item_id 'a', expected each id once"),
        ("item", "1 -1", "1", 3, "got vector '1', expected 2 numbers and not 1; every list needs as many"),
        ("item", "\t5\t", "\tcheap\t", 4, "got price 'cheap', expected finite numbers"),
        ("item", "\t5\t", "\t1e39\t", 4, "got price '1e39', expected numbers of at most 1e15 in size"),
        ("inter", "u1\ta\t3\t20", "u1\ta\t3\t1e999", 4, "got timestamp '1e999', expected finite numbers"),
        ("user", "\nu2\t", "\nu1\t", 3, "got user_id 'u1', expected each id once; remove one of the rows"),
        ("user", "user_id:token", "id:token", 1, "got no field 'user_id', expected it"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, suffix: str, old: str, new: str, line: int, message: str) -> None:
    path = write_all(tmp_path) / f"toy.{suffix}"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    said = refused(tmp_path)
    assert said.startswith(f"{path}, line {line}: got ")
    assert message in said


def test_labels_must_be_clicks(tmp_path: Path) -> None:
    rows = [f"{row} {i % 3}" for i, row in enumerate(ROWS)]
    said = refused(write_all(tmp_path, f"{INTER} label:float", rows))
    assert "toy.inter, line 4: got label '2', expected 0 or 1; write 1 for a click, or name the field 'rating'" in said


def test_missing_and_doubled_files(tmp_path: Path) -> None:
    assert "got 0 .inter files among no files, expected one" in refused(tmp_path)
    write_all(tmp_path)
    write(tmp_path / "other.inter", INTER, ROWS, " ")
    assert "got 2 .inter files among other.inter, toy.inter, toy.item, toy.user, expected one" in refused(tmp_path)
    (tmp_path / "other.inter").unlink()
    write(tmp_path / "other.item", ITEM, ITEMS)
    assert "got 2 .item files" in refused(tmp_path)


def test_labels_are_clicks_and_ratings_likes(tmp_path: Path) -> None:
    for name, said in (("label", "rows is a click"), ("rating", "ratings is a like")):
        inter = "user_id:token item_id:token rating:float timestamp:float".replace("rating", name)
        value = "1" if name == "label" else "5"
        write_all(tmp_path, inter, [f"u1 {item} {value} {at}" for at, item in enumerate("abc")])
        assert f"every one of the 3 {said}, expected both" in refused(tmp_path)


def test_items_without_features(tmp_path: Path) -> None:
    write_all(tmp_path)
    write(tmp_path / "toy.item", "item_id:token title:token_seq", ["a|A", "b|B", "c|C"])
    log = load_atomic(tmp_path, slate_size=2)
    check_slates(log)
    assert log.item_labels == ("", "A", "B", "C")
    assert log.item_features.tolist() == [[0]] * 4
    header = "item_id:token brand_name:token title:token_seq"
    write(tmp_path / "toy.item", header, ["a|x|A", "b|x|B", "c|y|C"])
    assert load_atomic(tmp_path, slate_size=2).item_labels == ("", "A", "B", "C")
    (tmp_path / "toy.item").unlink()
    log = load_atomic(tmp_path, slate_size=2)
    assert log.item_labels == ("", "item b", "item a", "item c")  # in the order of the log
    assert log.slate.tolist() == [[2, 1], [1, 2], [3, 1]]
