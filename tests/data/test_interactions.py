"""Your own log: slates as they were shown, columns found or named, and a line for whatever is wrong."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsrl_gym.data.interactions import load_interactions
from hsrl_gym.errors import HsrlError

# Ann sees a, b, c at 20, then c, d, a; Bob's slate number 1 is another one, and comes first. Ann's last has two items.
HEADER = "user_id,item,timestamp,clicked,slate"
ROWS = ["ann,a,20,1,1", "ann,b,21,0,1", "bob,d,5,0,1", "ann,c,22,1,1", "bob,a,5,1,1", "bob,b,6,0,1"]
ROWS += ["ann,c,30,0,2", "ann,d,30,1,2", "ann,a,30,0,2", "ann,b,40,1,3", "ann,c,40,0,3"]


def write(folder: Path, rows: list[str] | None = None, header: str = HEADER, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *(ROWS if rows is None else rows)]) + "\n", encoding="utf-8")
    return path


def refused(path: Path, **settings: object) -> str:
    with pytest.raises(HsrlError) as error:
        load_interactions(path, **settings)  # type: ignore[arg-type]
    assert str(error.value).isprintable()
    return str(error.value)


def test_slates_as_they_were_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log = load_interactions(write(tmp_path))
    assert log.slate.tolist() == [[3, 1, 2], [1, 2, 4], [4, 3, 1]]  # a, b, d, c are 1, 2, 3, 4
    assert log.clicks.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert log.time.tolist() == [5, 20, 30]
    assert log.history[:, -2:].tolist() == [[0, 0], [0, 0], [1, 4]]
    assert log.user.tolist() == [2, 1, 1]
    assert log.item_labels == ("", "item a", "item b", "item d", "item c")
    assert log.item_features.tolist() == [[0]] * 5
    assert log.profile.tolist() == [[0]] * 3
    assert "user from user_id, item from item, time from timestamp, click from clicked, slate from slate" in caplog.text
    said = "3 slates of 3; left out 1 shorter ones, the ends of 0 longer ones and 0 items without a row"
    assert said in caplog.text


def test_a_click_log_is_told_of_rows_and_clicks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clicked = write(tmp_path, [",".join([*row.split(",")[:3], "1", row.split(",")[4]]) for row in ROWS])
    assert "every one of the 11 rows is a click, expected both: a user model is learned from clicks" in refused(clicked)
    assert "keep the rows that were clicked and those that were not" in refused(clicked)
    own = write(tmp_path, [row.rpartition(",")[0] for row in ROWS], HEADER.rpartition(",")[0])
    with caplog.at_level(logging.INFO):
        load_interactions(own, slate_size=4)
    assert "left out 3 of 11 rows (last, incomplete slates) and 0 items without a row" in caplog.text
    assert "got at most 8 rows of one user, expected 10 or more" in refused(own)


def test_slates_of_another_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log = load_interactions(write(tmp_path), slate_size=2)
    assert log.slate.tolist() == [[3, 1], [1, 2], [4, 3], [2, 4]]
    assert "4 slates of 2; left out 0 shorter ones, the ends of 3 longer ones" in caplog.text
    assert log.history[-1, -3:].tolist() == [1, 4, 3]  # the click that was cut off counts
    assert "got slates of at most 3 items, expected 4; give a smaller slate_size" in refused(
        write(tmp_path), slate_size=4
    )


def test_without_slates_they_are_cut_from_ratings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row.rpartition(",")[0].replace(",1", ",4").replace(",0", ",2") for row in ROWS]
    path = write(tmp_path, rows, "who,item,when,stars")
    with caplog.at_level(logging.INFO):
        log = load_interactions(path, slate_size=3, user="who", time="when", rating="stars", like_above=3)
    assert len(log) == 3
    assert "without --slate, each user's rows are cut into slates in time order" in caplog.text
    strict = load_interactions(path, slate_size=3, user="who", time="when", rating="stars", like_above=3.9)
    assert (strict.clicks == log.clicks).all()
    assert "every one of the 11 ratings is no like" in refused(
        path, user="who", time="when", rating="stars", like_above=5
    )


def test_an_item_twice_in_a_slate_that_was_cut_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, [row.rpartition(",")[0] for row in ROWS], HEADER.rpartition(",")[0])
    log = load_interactions(path, slate_size=4)
    assert log.slate.tolist() == [[1, 2, 4, 4], [3, 1, 2, 4]]  # Ann's two visits are one slate
    assert "file shop.csv: 1 slates hold an item twice (several visits of one user); a column of slates" in caplog.text
    caplog.clear()
    load_interactions(path, slate_size=3)
    assert "twice" not in caplog.text


def test_a_named_column_goes_before_a_usual_one(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{row},{5 * int(row.split(',')[3] == '0')}" for row in ROWS], f"{HEADER},stars")
    assert (load_interactions(path, rating="stars").clicks == 1 - load_interactions(path).clicks).all()
    assert "got --click and --rating, expected one of them" in refused(path, rating="stars", click="clicked")
    assert "got --like-above, expected it with --rating alone" in refused(path, like_above=2)


def test_features_and_titles_of_items(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = write(
        tmp_path,
        ["z,Zed,1,x|y,u1,9", 'a,"Apple, red",2,x,u2,1', "b,,3,,u3,2", "c,Cherry,4,y,u4,3", "d,Date,,x,u5,4"],
        "item,product name,price,tags,url,rank",
        "items.csv",
    )
    with caplog.at_level(logging.INFO):
        log = load_interactions(write(tmp_path), items)
    assert log.item_labels == ("", "Apple, red", "item b", "Cherry", "Date")  # z was never shown
    price = (np.array([2, 3, 4, 2.5]) - 2.5) / np.std([1, 2, 3, 4, 2.5])
    np.testing.assert_allclose(log.item_features[1:, 0], price, rtol=1e-6)
    assert log.item_features[1:, 1:3].tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    assert log.item_features.shape == (5, 4)
    assert "column url has another value in every row and is no feature" in caplog.text
    assert log.slate.tolist() == [[4, 1, 2], [1, 2, 3], [3, 4, 1]]


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("brand_name,item,title", "title"),
        ("title_length,item,Item Name", "Item Name"),
        ("brand_name,item,product title", "product title"),
        ("brand_name,item,colour", "brand_name"),
    ],
)
def test_the_title_is_the_label(tmp_path: Path, caplog: pytest.LogCaptureFixture, header: str, label: str) -> None:
    items = write(tmp_path, [f"{name.upper()}1,{name},{name.upper()}2" for name in "abcd"], header, "items.csv")
    with caplog.at_level(logging.INFO):
        log = load_interactions(write(tmp_path), items)
    column = 1 if header.startswith(label) else 2
    assert log.item_labels == ("", *(f"{name}{column}" for name in "ABCD"))
    assert f"items.csv: label from {label}\n" in caplog.text


def test_dates_and_words_for_clicks(tmp_path: Path) -> None:
    rows = []
    for row in ROWS:
        user, item, at, click, slate = row.split(",")
        rows.append(f"{user},{item},2026-05-31T12:30:{at}+02:00,{bool(int(click))},{slate}".replace(":5+", ":05+"))
    rows[5] = rows[5].replace(":6+", ":06.5+")
    log = load_interactions(write(tmp_path, rows))
    assert log.clicks.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert np.diff(log.time).tolist() == [15_000_000, 10_000_000]
    rows[3] = rows[3].replace("-05-", "-15-")
    assert "shop.csv, line 5: got timestamp '2026-15-31T12:30:22+02:00', expected a number, or a date as" in refused(
        write(tmp_path, rows)
    )


def test_times_at_both_ends_of_int64(tmp_path: Path) -> None:
    ends = [row.replace(",5,", f",{-(2**63)},").replace(",30,", f",{2**63 - 1},") for row in ROWS]
    log = load_interactions(write(tmp_path, ends))
    assert log.time.tolist() == [-(2**63), 20, 2**63 - 1]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(tmp_path: Path, separator: str) -> None:
    path = write(tmp_path, [row.replace(",", separator) for row in ROWS], "\ufeff" + HEADER.replace(",", separator))
    assert len(load_interactions(path)) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ann,b,21,0,1", "ann,b,21,0", "line 3: got 4 fields in 'ann,b,21,0', expected 5 between ','"),
        ("ann,b,21,0,1", "ann,b,late,0,1", "line 3: got timestamp 'late', expected finite numbers"),
        ("ann,b,21,0,1", "ann,b,1e999,0,1", "line 3: got timestamp '1e999', expected finite numbers"),
        ("ann,b,21,0,1", "ann,b,21,,1", "line 3: got clicked '', expected finite numbers"),
        ("ann,b,21,0,1", "ann,b,21,2,1", "line 3: got clicked '2', expected 0 or 1; write 1 for a click, or name"),
        ("ann,b,21,0,1", ",b,21,0,1", "line 3: got user_id '', expected a name; fill it in or remove the row"),
        ("ann,c,22,1,1", "ann,a,22,1,1", "line 5: got item 'a', expected each item once in a slate; keep one row"),
        ("user_id,", "visitor,", ": got columns visitor, item, timestamp, clicked, slate, expected one for --user (or"),
        ("timestamp,", "item,", ": got columns item twice, expected each name once"),
        ("clicked", "event", "expected one for --click (0 or 1) or --rating; name one of these"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    said = refused(path)
    assert said.startswith(str(path))
    assert message in said


def test_other_bad_input(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert "expected 'userid' (--user); did you mean user_id?" in refused(path, user="userid")
    assert "got 'item' for --user and --item, expected a column for each" in refused(path, user="item", item="item")
    assert "got a folder, expected a CSV or parquet file" in refused(tmp_path)
    assert "got nothing, expected a CSV or parquet file" in refused(tmp_path / "no.csv")
    assert "got no rows, expected a header with names of columns, and rows" in refused(write(tmp_path, []))
    (tmp_path / "empty.csv").write_text("")
    assert "got no rows" in refused(tmp_path / "empty.csv")
    write(tmp_path)
    items = write(tmp_path, ["a,1", "b,2", "a,3"], "item,price", "items.csv")
    assert "items.csv, line 4: got item 'a', expected each id once" in refused(path, items=items)
    items = write(tmp_path, ["a,1", "b,2"], "item,price", "items.csv")
    assert "shop.csv, line 4: got item 'd', expected one that items.csv lists" in refused(path, items=items)
    items = write(tmp_path, ["a,1"], "sku,price", "items.csv")
    assert "items.csv: got columns sku, price, expected 'item' with the ids of the items" in refused(path, items=items)


def test_parquet_gives_the_same_log(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(write(tmp_path))
    frame["clicked"] = frame["clicked"].astype(bool)
    frame["user_id"] = frame["user_id"].astype("category")
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    frame.to_parquet(tmp_path / "shop.pq")
    log, same = load_interactions(tmp_path / "shop.csv"), load_interactions(tmp_path / "shop.pq")
    for column in ("slate", "clicks", "history", "user"):
        assert (getattr(log, column) == getattr(same, column)).all()
    assert same.item_labels == log.item_labels
    assert (np.diff(same.time) == np.diff(log.time) * 1_000_000).all()


def test_bad_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(write(tmp_path))
    path = tmp_path / "shop.parquet"
    frame.assign(item=[None, *frame["item"][1:]]).to_parquet(path)
    assert f"{path}, row 1: got item '', expected a name" in refused(path)
    frame.assign(item=[["a", "b"]] * len(frame)).to_parquet(path)
    assert "in column item, expected one value a row" in refused(path)
    path.write_bytes(path.read_bytes()[:-9])
    assert "shop.parquet: cannot be read as parquet (" in refused(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "which needs pyarrow; run `pip install 'hsrl-gym[parquet]'`" in refused(tmp_path / "shop.parquet")


def test_many_rows_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_interactions(write(tmp_path))
    monkeypatch.setattr("hsrl_gym.data.tables._ROWS_AT_ONCE", 2)
    parts = load_interactions(write(tmp_path))
    for column in ("slate", "clicks", "history", "user", "time"):
        assert (getattr(whole, column) == getattr(parts, column)).all()
    rows = [row.replace(",30,", ",2026-05-31,") for row in ROWS]
    assert "line 8: got timestamp '2026-05-31', expected finite numbers" in refused(write(tmp_path, rows))


def test_names_that_are_the_same_number_are_two_users(tmp_path: Path) -> None:
    rows = [row.replace("ann,", "1,").replace("bob,", "01,") for row in ROWS]
    assert len(set(load_interactions(write(tmp_path, rows)).user.tolist())) == 2


def test_the_time_of_reading_is_no_date(tmp_path: Path) -> None:
    rows = [row.replace(f",{row.split(',')[2]},", f",2026-05-{row.split(',')[2].zfill(2)[:2]},", 1) for row in ROWS[:6]]
    rows = [rows[0].replace("2026-05-20", "now"), *rows[1:]]
    assert "got timestamp 'now', expected" in refused(write(tmp_path, rows))


def test_two_hundred_thousand_rows_in_seconds(tmp_path: Path) -> None:
    n = 200_000
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(0, 3000, n), "item": np.arange(n) % 7, "time": np.arange(n) // 7})
    frame.assign(click=rng.integers(0, 2, n), slate=np.arange(n) // 7).to_csv(tmp_path / "log.csv", index=False)
    frame["user"] = frame.groupby(frame["time"])["user"].transform("first")
    frame.assign(click=rng.integers(0, 2, n), slate=frame["time"]).to_csv(tmp_path / "log.csv", index=False)
    start = time.process_time()
    log = load_interactions(tmp_path / "log.csv")
    assert time.process_time() - start < 5
    assert len(log) == n // 7
