"""RL4RS files: the real format row by row, and a message with file and line for whatever is wrong."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from hsrl_gym.data import rl4rs
from hsrl_gym.data.log import right_align
from hsrl_gym.data.rl4rs import load_rl4rs
from hsrl_gym.errors import HsrlError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
COLUMNS = ["timestamp", "session_id", "sequence_id", "exposed_items", "user_feedback", "user_seqfeature"]
HEADER = "@".join([*COLUMNS, "user_protrait", "item_feature", "behavior_policy_id"])
PROFILE = ",".join(["64054", "2901", "6599", "1", "2", "3", "4", "5", "6", "7", *["0.5"] * 32])
N_ITEMS = 12


def row(
    time: str = "100",
    session: str = "1",
    slate: str = "1,2,3,4,5,6,7,8,9",
    clicks: str = "1,0,1,0,0,0,0,0,1",
    history: str = "0",
    profile: str = PROFILE,
    item_feature: str = "",
) -> str:
    return "@".join([time, session, "1", slate, clicks, history, profile, item_feature, "1"])


def write_items(folder: Path, ids: list[int] | None = None) -> Path:
    lines = ["item_id item_vec price location special_item"]
    for item in ids or range(1, N_ITEMS + 1):
        lines.append(f"{item} {','.join([str(item / 4), *['-1.5'] * 39])} 7.0 1 0")
    path = folder / "item_info.csv"
    path.write_text("\n".join(lines))  # the real file has no end of line at its end
    return path


def write(folder: Path, name: str, *rows: str, end: str = "\n", header: str = HEADER) -> Path:
    write_items(folder)
    path = folder / name
    path.write_bytes(end.join([header, *rows, ""]).encode())
    return path


def refused(folder: Path) -> str:
    """Return the message, which is one line."""
    with pytest.raises(HsrlError) as error:
        load_rl4rs(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_reads_every_column_as_it_stands(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", row(time="7", session="31", history="4,5,12", item_feature="0.1,0.2;0.3,0.4"))
    log = load_rl4rs(str(tmp_path))
    assert (log.name, log.n_items, log.slate_size, log.n_categorical) == ("rl4rs", N_ITEMS, 9, 10)
    assert (log.time.tolist(), log.user.tolist()) == ([7], [31])
    assert log.history.tolist() == [[0] * 47 + [4, 5, 12]]
    assert log.slate.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert log.clicks.tolist() == [[1, 0, 1, 0, 0, 0, 0, 0, 1]]
    assert log.profile[0, :4].tolist() == [64054.0, 2901.0, 6599.0, 1.0]
    assert log.profile[0, 10:].tolist() == [0.5] * 32
    assert log.item_features.shape == (N_ITEMS + 1, 40)
    assert not log.item_features[0].any()
    assert log.item_features[3, :2].tolist() == [0.75, -1.5]
    assert (log.item_labels[0], log.item_labels[12]) == ("", "item 12")
    assert "train.csv" in log.source
    assert (log.time.dtype, log.user.dtype, log.clicks.dtype) == (np.int64, np.int64, np.uint8)
    assert (log.history.dtype, log.slate.dtype) == (np.int32, np.int32)
    assert (log.profile.dtype, log.item_features.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("nothing", ["0", ""])
def test_empty_histories_and_the_other_spelling(tmp_path: Path, nothing: str) -> None:
    header = HEADER.replace("protrait", "portrait")
    write(tmp_path, "train.csv", row(history=nothing), row(history="3"), header=header)
    log = load_rl4rs(tmp_path)
    assert not log.history[0].any()
    assert log.history[1, -2:].tolist() == [0, 3]


def test_zeros_among_clicked_items_are_padding(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", row(history="0,0,3,0,5"))
    assert load_rl4rs(tmp_path).history[0, -3:].tolist() == [0, 3, 5]


def test_a_long_history_keeps_its_latest_fifty(tmp_path: Path) -> None:
    clicked = [1 + i % N_ITEMS for i in range(81)]  # as long as in the head of the authors' dataset a
    write(tmp_path, "test.csv", row(history=",".join(map(str, clicked))), row(history="2"))
    assert load_rl4rs(tmp_path).history.tolist() == right_align([clicked, [2]]).tolist()


def test_rows_are_in_time_order_and_ties_train_before_test(tmp_path: Path) -> None:
    write(tmp_path, "rl4rs_b_train.csv", row("50", "1"), row("20", "2"), row("50", "3"))
    write(tmp_path, "rl4rs_b_test.csv", row("50", "4"), row("10", "5"), row("20", "6"))
    log = load_rl4rs(tmp_path)
    assert log.user.tolist() == [5, 2, 6, 1, 3, 4]
    assert log.time.tolist() == [10, 20, 20, 50, 50, 50]


def test_windows_line_ends_and_empty_lines_at_the_end(tmp_path: Path) -> None:
    write(tmp_path, "rl4rs_a_test.csv", row(), row(time="200"), "", "", end="\r\n")
    assert load_rl4rs(tmp_path).time.tolist() == [100, 200]


def test_raw_release_separates_sessions_of_the_two_policies(tmp_path: Path) -> None:
    write(tmp_path, "rl4rs_dataset_b_sl.csv", row("1", "1"), row("2", "2"), end="\r\n")
    write(tmp_path, "rl4rs_dataset_b_rl.csv", row("3", "1"), row("4", "2"), end="\r\n")
    log = load_rl4rs(tmp_path)
    assert log.user.tolist() == [1, 2, 3, 4]
    assert "rl4rs_dataset_b_sl.csv and rl4rs_dataset_b_rl.csv" in log.source


def test_raw_session_ids_that_do_not_overlap_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "rl4rs_dataset_a_sl.csv", row("1", "8"))
    write(tmp_path, "rl4rs_dataset_a_rl.csv", row("3", "70"))
    assert load_rl4rs(tmp_path).user.tolist() == [8, 70]


def test_of_several_pairs_the_first_is_read_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "rl4rs_dataset_a_sl.csv", row("1", "8"))
    write(tmp_path, "rl4rs_dataset_b_sl.csv", row("2", "9"))
    with caplog.at_level(logging.WARNING):
        assert load_rl4rs(tmp_path).user.tolist() == [9]
    assert "rl4rs_dataset_a_sl.csv not read, as rl4rs_dataset_b_sl.csv is there" in caplog.text


def test_blocks_count_lines_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl4rs, "_ROWS_AT_ONCE", 2)
    write(tmp_path, "train.csv", *(row(str(t), str(t)) for t in range(5)))
    assert load_rl4rs(tmp_path).user.tolist() == [0, 1, 2, 3, 4]
    write(tmp_path, "train.csv", *(row(str(t)) for t in range(5)), row("x"))
    assert "train.csv, line 7: got timestamp 'x', expected whole numbers" in refused(tmp_path)


def test_items_in_any_order(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", row())
    write_items(tmp_path, ids=[*range(N_ITEMS, 0, -1)])
    assert load_rl4rs(tmp_path).item_features[:, 0].tolist() == [item / 4 for item in range(N_ITEMS + 1)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row()[:30], "got 5 fields in '100@1@1@1,2,3,4,5,6,7,8,9@1,0,', expected 9 between '@'; the line is cut off"),
        ("", "got 1 fields in '', expected 9"),
        (row(slate="1,2,3,4,5,6,7,8"), "exposed_items '1,2,3,4,5,6,7,8', expected 9 numbers and not 8; every slate"),
        (row(clicks="1,0,1"), "user_feedback '1,0,1', expected 9 numbers and not 3; one for each item of the slate"),
        (
            row(clicks="1,0,1,0,0,0,0,0,2"),
            "user_feedback '1,0,1,0,0,0,0,0,2', expected clicks, 0 or 1; say what counts",
        ),
        (
            row(slate="1,2,3,4,5,6,7,8,13"),
            "exposed_items '1,2,3,4,5,6,7,8,13', expected item ids 1..12 as in item_info",
        ),
        (row(slate="1,2,3,4,5,6,7,8,0"), "exposed_items '1,2,3,4,5,6,7,8,0', expected item ids 1..12"),
        (
            row(history="3,99"),
            "user_seqfeature '3,99', expected item ids 1..12 as in item_info.csv; does item_info.csv",
        ),
        (row(history="3,a"), "user_seqfeature '3,a', expected whole numbers; mend or remove this row"),
        (row(profile="nan" + PROFILE[5:]), "user_protrait 'nan,2901,6599"),
        (row(profile=PROFILE[:-4]), "expected 42 numbers and not 41; mend or remove the row"),
        (row(session="1.5"), "session_id '1.5', expected whole numbers"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, bad: str, message: str) -> None:
    path = write(tmp_path, "train.csv", row(), row(), bad, row())
    said = refused(tmp_path)
    assert said.startswith(f"{path}, line 4: got ")
    assert message in said


def test_a_profile_with_nan_says_what_was_expected(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", row(profile="nan" + PROFILE[5:]))
    assert "expected finite numbers; mend or remove this row" in refused(tmp_path)


def test_the_slates_of_the_second_file_must_fit_the_first(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", row())
    path = write(tmp_path, "test.csv", row(slate="1,2", clicks="0,1"))
    assert refused(tmp_path).startswith(f"{path}, line 2: got exposed_items '1,2', expected 9 numbers and not 2")


def test_a_file_cut_off_in_its_last_line(tmp_path: Path) -> None:
    path = write(tmp_path, "train.csv", row(), row())
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{path}, line 3: got 7 fields" in refused(tmp_path)


def test_wrong_separator(tmp_path: Path) -> None:
    path = write(tmp_path, "train.csv", row().replace("@", ";"), header=HEADER.replace("@", ";"))
    said = refused(tmp_path)
    assert said.startswith(f"{path}, line 1: got header 'timestamp;session_id")
    assert "expected the columns timestamp, session_id" in said
    assert "was the separator kept?" in said


def test_missing_things(tmp_path: Path) -> None:
    assert "nothing: got nothing, expected a folder with item_info.csv" in refused(tmp_path / "nothing")
    assert "got no files, expected train.csv, test.csv or rl4rs_b_train.csv" in refused(tmp_path)
    write(tmp_path, "train.csv", row())
    (tmp_path / "item_info.csv").unlink()
    said = refused(tmp_path)
    assert "item_info.csv: got no such file, expected the features of the items" in said
    assert "in its repository under dataset/" in said
    assert "train.csv: got a file, expected a folder" in refused(tmp_path / "train.csv")


def test_empty_files(tmp_path: Path) -> None:
    path = write(tmp_path, "train.csv", row())
    write(tmp_path, "test.csv")
    assert "test.csv: got a header without rows, expected logged slates" in refused(tmp_path)
    (tmp_path / "test.csv").unlink()
    path.write_text("")
    assert "train.csv: got an empty file, expected a header" in refused(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("item_id item_vec", "id vec", "line 1: got header 'id vec price location special_item', expected 'item_id"),
        ("\n3 ", "\n2 ", "line 4: got item_id '2', expected each of 1..12 once"),
        ("\n3 ", "\n0 ", "line 4: got item_id '0', expected each of 1..12 once"),
        ("0.75,-1.5", "nan,-1.5", "line 4: got item_vec 'nan,-1.5"),
        ("0.75,-1.5", "0.75", "expected 40 numbers and not 39; restore the file"),
        ("7.0 1 0", "7.0 1", "line 2: got 4 fields"),
    ],
)
def test_a_broken_item_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    write(tmp_path, "train.csv", row())
    path = tmp_path / "item_info.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    said = refused(tmp_path)
    assert said.startswith(str(path))
    assert message in said


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not on this machine")


@needs_shared
def test_the_real_fragment() -> None:
    log = load_rl4rs(SHARED / "rl4rs-fragment")
    assert (len(log), log.n_items, log.slate_size) == (46 + 17, 283, 9)
    first = int(np.flatnonzero(log.user == 1)[0])  # line 2 of the training file
    assert log.time[first] == 530551
    assert log.slate[first].tolist() == [28, 32, 5, 77, 130, 76, 196, 199, 172]
    assert log.clicks[first].tolist() == [1] * 9
    assert not log.history[first].any()
    assert log.profile[first, [0, 9, 10, -1]].tolist() == pytest.approx([64054, 52329, 3.054, 0])
    assert log.item_features[1, [0, 4, 39]].tolist() == pytest.approx([-0.2137, 1.8061, 1.2644])
    # The slots hold items of location 1, 2 and 3, which are 1..39, 40..147 and 148..283.
    assert log.slate[:, :3].max() == 39
    assert log.slate[:, 3:6].min() >= 40
    assert log.slate[:, 3:6].max() <= 147
    assert log.slate[:, 6:].min() >= 148


@needs_shared
def test_sixty_thousand_rows_in_a_few_seconds() -> None:
    start = time.process_time()
    log = load_rl4rs(SHARED / "rl4rs-semireal")
    assert time.process_time() - start < 10
    assert len(log) == 60_000
    early, late = log.split_by_time(0.8)
    assert (len(early), len(late)) == (48_000, 12_000)
    slots = log.clicks.reshape(-1, 3, 3).mean(axis=(0, 2))  # as shared/data/README.md gives them
    assert slots.tolist() == pytest.approx([0.85, 0.75, 0.50], abs=0.005)
