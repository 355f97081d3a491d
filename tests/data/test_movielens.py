"""MovieLens in each of its formats, and slates cut from ratings against a slow reference."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.movielens import GENRES_100K, load_movielens
from hsrl_gym.data.ratings import Ratings, slates_from_ratings, windows
from hsrl_gym.errors import HsrlError

# user, movie, rating, second; two ratings of user 1 fall on one second, and keep the order of the file
RATED = [
    (1, 5, 5, 60),
    (2, 1, 3, 0),
    (1, 1, 4, 19),
    (1, 7, 2, 60),
    (2, 5, 4, 10),
    (1, 5, 4, 90),
    (1, 1, 1, 95),
    (2, 7, 5, 20),
]
MOVIES = [
    (1, "Toy Story (1995)", ["Animation", "Comedy"]),
    (5, "Misérables, Les (1935)", ["Drama"]),
    (7, "Undated", ["Drama"]),
]
UNRATED = (9, "Nobody's (2000)", ["Western"])
USERS = [(1, "F", 24, "writer"), (2, "M", 53, "other"), (3, "M", 33, "writer")]
BASE = 978300700


def write_1m(folder: Path) -> Path:
    ratings = [f"{user}::{movie}::{rating}::{BASE + at}" for user, movie, rating, at in RATED]
    movies = [f"{movie}::{title}::{'|'.join(genres)}" for movie, title, genres in [*MOVIES, UNRATED]]
    users = [f"{user}::{gender}::{age}::{len(job)}::48067" for user, gender, age, job in USERS]
    for name, lines in (("ratings", ratings), ("movies", movies), ("users", users)):
        (folder / f"{name}.dat").write_bytes(("\n".join(lines) + "\n").encode("latin-1"))
    return folder


def write_100k(folder: Path) -> Path:
    ratings = [f"{user}\t{movie}\t{rating}\t{BASE + at}" for user, movie, rating, at in RATED]
    movies = []
    for movie, title, genres in [*MOVIES, UNRATED]:
        flags = "|".join("1" if genre in genres else "0" for genre in GENRES_100K)
        movies.append(f"{movie}|{title}|||http://us.imdb.com/M/title-exact?{movie}|{flags}")
    users = [f"{user}|{age}|{gender}|{job}|85711" for user, gender, age, job in USERS]
    for name, lines in (("data", ratings), ("item", movies), ("user", users)):
        (folder / f"u.{name}").write_bytes(("\n".join(lines) + "\n").encode("latin-1"))
    return folder


def write_atomic(folder: Path) -> Path:
    ratings = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    ratings += [f"{user}\t{movie}\t{rating}\t{BASE + at}" for user, movie, rating, at in RATED]
    movies = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    for movie, title, genres in [*MOVIES, UNRATED]:
        bare, _, year = title.partition(" (")
        movies.append(f"{movie}\t{bare}\t{year.rstrip(')') or 'unkonwn'}\t{' '.join(genres)}")
    users = ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"]
    users += [f"{user}\t{age}\t{gender}\t{job}\t85711" for user, gender, age, job in USERS]
    for suffix, lines in (("inter", ratings), ("item", movies), ("user", users)):
        (folder / f"ml-100k.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_latest(folder: Path) -> Path:
    ratings = ["userId,movieId,rating,timestamp", *(f"{u},{m},{r - 0.5},{BASE + at}" for u, m, r, at in RATED)]
    movies = ["movieId,title,genres", "1,Toy Story (1995),Animation|Comedy", '5,"Misérables, Les (1935)",Drama']
    movies += ['7,"""Undated""",(no genres listed)', "9,Nobody's (2000),Western"]
    (folder / "ratings.csv").write_bytes(("\r\n".join(ratings) + "\r\n").encode())
    (folder / "movies.csv").write_bytes(("\r\n".join(movies) + "\r\n").encode())
    return folder


def check_slates(log: InteractionLog) -> None:
    """Compare with the slates of two that follow from RATED by hand (movies 1, 5, 7 are items 1, 2, 3)."""
    assert log.time.tolist() == [BASE, BASE + 19, BASE + 60]  # of the first rating of each slate
    assert log.user.tolist() == [2, 1, 1]
    assert log.slate.tolist() == [[1, 2], [1, 2], [3, 2]]
    assert log.clicks.tolist() == [[0, 1], [1, 1], [0, 1]]
    assert log.history[:, -3:].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 2]]
    assert not log.history[:, :-3].any()
    assert log.history.shape == (3, 50)


def refused(folder: Path, slate_size: int = 2) -> str:
    with pytest.raises(HsrlError) as error:
        load_movielens(folder, slate_size)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_1m(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log = load_movielens(str(write_1m(tmp_path)), slate_size=2)
    check_slates(log)
    assert (
        "3 slates of 2; left out 2 of 8 ratings (last, incomplete slates) and 1 items without a rating" in caplog.text
    )
    assert log.name == "ml-1m"
    assert log.item_labels == ("", "Toy Story (1995)", "Misérables, Les (1935)", "Undated")
    # gender: M is more frequent, so 1, and F 2; occupation: "6" 1, "5" 2; age as it stands
    assert log.n_categorical == 2
    assert log.profile.tolist() == [[1, 2, 53], [2, 1, 24], [2, 1, 24]]
    # Animation, Comedy, Drama, Western, (year - 1980) / 20, year missing
    expected = [[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0.75, 0], [0, 0, 1, 0, -2.25, 0], [0, 0, 1, 0, 0, 1]]
    assert log.item_features.tolist() == expected


def test_100k_and_its_atomic_form_give_the_same_log(tmp_path: Path) -> None:
    logs = []
    for name, write in (("plain", write_100k), ("atomic", write_atomic)):
        (tmp_path / name).mkdir()
        logs.append(load_movielens(write(tmp_path / name), slate_size=2))
        check_slates(logs[-1])
    plain, atomic = logs
    assert plain.name == atomic.name == "ml-100k"
    assert plain.item_labels == atomic.item_labels == ("", "Toy Story (1995)", "Misérables, Les (1935)", "Undated")
    assert plain.profile.tolist() == atomic.profile.tolist() == [[1, 2, 53], [2, 1, 24], [2, 1, 24]]
    assert plain.item_features.tolist() == atomic.item_features.tolist()
    assert plain.item_features[1].tolist() == [1, 1, 0, 0, 0.75, 0]
    assert plain.n_categorical == atomic.n_categorical == 2


def test_the_year_of_100k_comes_from_the_date_where_the_title_has_none(tmp_path: Path) -> None:
    path = write_100k(tmp_path) / "u.item"
    path.write_bytes(path.read_bytes().replace(b"Undated||", b"Undated|01-Jan-1990|"))
    assert load_movielens(tmp_path, 2).item_features[3, -2:].tolist() == [0.5, 0]


def test_latest_has_quoted_titles_and_no_profiles(tmp_path: Path) -> None:
    log = load_movielens(write_latest(tmp_path), slate_size=2)
    assert log.name == "ml-latest"
    assert log.item_labels == ("", "Toy Story (1995)", "Misérables, Les (1935)", '"Undated"')
    assert log.clicks.tolist() == [[0, 1], [1, 1], [0, 1]]  # 3.5 is a like, 2.5 is none
    assert log.item_features[3].tolist() == [0, 0, 0, 0, 0, 1]
    assert log.profile.tolist() == [[0], [0], [0]]
    assert log.n_categorical == 0


def test_slates_of_ten_are_the_default(tmp_path: Path) -> None:
    assert "got at most 5 ratings of one user, expected 10 or more" in refused(write_1m(tmp_path), slate_size=10)
    path = tmp_path / "ratings.dat"
    path.write_text(path.read_text() + "".join(f"3::5::{1 + i % 5}::{BASE + 500 + i}\n" for i in range(14)))
    log = load_movielens(tmp_path)
    assert log.clicks.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "message"),
    [
        ("ratings.dat", "2::7::5::978300720\n", "2::7::5", 8, "got 3 fields in '2::7::5', expected 4 between '::'"),
        ("ratings.dat", "1::7::2", "1::8::2", 4, "got item_id '8', expected one that movies.dat lists"),
        ("ratings.dat", "1::7::2", "4::7::2", 4, "got user_id '4', expected one that users.dat lists"),
        ("ratings.dat", "1::7::2", "1::7::nan", 4, "got rating 'nan', expected finite numbers"),
        ("ratings.dat", "978300719", "1e9", 3, "got timestamp '1e9', expected whole numbers"),
        ("movies.dat", "::Drama\n7", "\n7", 2, "got 2 fields in '5::Misérables, Les (1935)', expected 3"),
        ("users.dat", "::53::", "::old::", 2, "got age 'old', expected finite numbers"),
        ("users.dat", "::53::", "::1e39::", 2, "got age '1e39', expected numbers of at most 1e15 in size"),
        ("users.dat", "2::M", "1::M", 2, "got user_id '1', expected each id once; remove one of the rows"),
        ("movies.dat", "\n7::", "\n5::", 3, "got item_id '5', expected each id once; remove one of the rows"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, name: str, old: str, new: str, line: int, message: str) -> None:
    path = write_1m(tmp_path) / name
    text = path.read_bytes()
    assert old.encode() in text
    path.write_bytes(text.replace(old.encode(), new.encode(), 1))
    said = refused(tmp_path)
    assert said.startswith(f"{path}, line {line}: got ")
    assert message in said


def test_other_bad_input(tmp_path: Path) -> None:
    assert "got no files, expected one of ratings.dat, u.data, ratings.csv or ml-100k.inter" in refused(tmp_path)
    assert "got nothing, expected a folder with the files of one MovieLens version" in refused(tmp_path / "no")
    write_1m(tmp_path)
    assert "slate_size is 0, expected at least 1" in refused(tmp_path, slate_size=0)
    (tmp_path / "users.dat").unlink()
    said = refused(tmp_path)
    assert "users.dat: got no such file; expected it beside movies.dat, ratings.dat" in said
    (tmp_path / "movies.dat").write_text("")
    assert "movies.dat: got an empty file, expected rows of item_id, title, genres" in refused(tmp_path)


def test_likes_alone_teach_nothing(tmp_path: Path) -> None:
    path = write_1m(tmp_path) / "ratings.dat"
    path.write_text("".join(f"1::5::5::{i}\n" for i in range(4)))
    assert "every one of the 4 ratings is a like, expected both" in refused(tmp_path)


def test_wrong_header_of_latest(tmp_path: Path) -> None:
    path = write_latest(tmp_path) / "ratings.csv"
    path.write_bytes(path.read_bytes().replace(b"userId", b"user"))
    said = refused(tmp_path)
    assert f"{path}, line 1: got columns user, movieId, rating, timestamp, expected userId among them" in said


def test_latest_in_old_mac_form_or_with_a_huge_field(tmp_path: Path) -> None:
    path = write_latest(tmp_path) / "movies.csv"
    good = path.read_bytes()
    path.write_bytes(b"movieId,title,genres\r1,T,C\r")
    assert refused(tmp_path).startswith(f"{path}: got a file whose lines end in CR alone (old Mac)")
    path.write_bytes(good + b"10," + b"x" * 140_000 + b",Drama\r\n")
    assert refused(tmp_path).startswith(f"{path}, line 6: the record that starts here cannot be read (field larger")
    path.write_bytes(
        b"\xef\xbb\xbf"
        + good.replace(b"Toy Story", b"Toy\r\nStory").replace(b"1,Toy", b'1,"Toy').replace(b"(1995)", b'(1995)"')
    )
    assert load_movielens(tmp_path, 2).item_labels[1] == "Toy\r\nStory (1995)"
    path.write_bytes(path.read_bytes().replace(b"\n9,", b"\n7,"))
    assert refused(tmp_path).startswith(f"{path}, line 6: got movieId '7', expected each id once")


def test_names_in_a_header_are_printable(tmp_path: Path) -> None:
    path = write_latest(tmp_path) / "ratings.csv"
    path.write_bytes(path.read_bytes().replace(b"userId", b"\x1b[2J" + b"u" * 1000))
    said = refused(tmp_path)
    assert said.isprintable()
    assert len(said) < len(str(path)) + 300


def test_atomic_files_of_something_else(tmp_path: Path) -> None:
    path = write_atomic(tmp_path) / "ml-100k.item"
    path.write_text(path.read_text().replace("class:", "genre:"))
    assert "expected class among them as in RecBole's ml-100k; use load_atomic" in refused(tmp_path)
    (tmp_path / "ml-100k.user").unlink()
    assert "got no .user file, expected one; use load_atomic" in refused(tmp_path)


def test_windows_by_hand() -> None:
    values = np.array([10, 20, 30, 40, 50])
    start, end = np.array([0, 0, 2, 2, 5]), np.array([0, 2, 3, 5, 5])
    assert windows(values, start, end, 2).tolist() == [[0, 0], [10, 20], [0, 30], [40, 50], [0, 0]]
    assert windows(values[:0], start * 0, end * 0, 2).tolist() == [[0, 0]] * 5


def slow_slates(ratings: list[tuple[int, int, bool, int]], size: int) -> set[tuple[object, ...]]:
    """Return (user, time, slate, clicks, history) of every slate, the way appendix A tells it."""
    slates: set[tuple[object, ...]] = set()
    for user in {rating[0] for rating in ratings}:
        own = sorted((rating for rating in ratings if rating[0] == user), key=lambda rating: rating[3])
        for first in range(0, len(own) - size + 1, size):
            shown = own[first : first + size]
            history = [item for _, item, click, _ in own[:first] if click][-50:]
            items, clicks = tuple(r[1] for r in shown), tuple(int(r[2]) for r in shown)
            slates.add((user, shown[0][3], items, clicks, tuple(history)))
    return slates


rated_items = st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans(), st.integers(0, 40))


@settings(max_examples=60, deadline=None)
@given(st.lists(rated_items, min_size=1, max_size=260), st.integers(1, 4))
def test_slates_match_a_slow_reference(rated: list[tuple[int, int, bool, int]], size: int) -> None:
    rated = [*rated, *((4, item % 6, item % 2 == 0, 7) for item in range(8))]  # so that there is a slate of each kind
    user, item, click, at = (np.array(column) for column in zip(*rated, strict=True))
    features = np.arange(6, dtype=np.float32)[:, None]
    names = [f"movie {i}" for i in range(6)]
    profile = np.arange(5, dtype=np.float32)[:, None]
    log = slates_from_ratings(
        Ratings("toy", "toy", user, item, click, at, np.arange(5), profile, features, names, 0), size
    )
    got = set()
    for m in range(len(log)):
        original = log.item_features[:, 0].astype(int)  # the toy feature of an item is its place in the file
        history = tuple(original[log.history[m][log.history[m] > 0]].tolist())
        slate = tuple(original[log.slate[m]].tolist())
        got.add((int(log.user[m]), int(log.time[m]), slate, tuple(log.clicks[m].tolist()), history))
        assert log.profile[m, 0] == log.user[m]
    assert got == slow_slates(rated, size)
    assert log.item_labels[1:] == tuple(f"movie {i}" for i in sorted(set(item.tolist())))
    assert (np.diff(log.time) >= 0).all()


def test_no_history_looks_past_its_row(tmp_path: Path) -> None:
    """Every like in a history was given at or before the time of its row, so a split by time keeps them apart."""
    rng = np.random.default_rng(0)
    n_ratings, n_users = 3_000, 20
    user, at = rng.integers(0, n_users, n_ratings), rng.permutation(n_ratings)
    item, click = np.arange(n_ratings), rng.random(n_ratings) < 0.5  # each item is rated once: it tells the time
    features = at[:, None].astype(np.float32)
    log = slates_from_ratings(
        Ratings(
            *("toy", "toy", user, item, click, at, np.arange(n_users), np.zeros((n_users, 1), np.float32), features),
            *([""] * n_ratings, 0),
        ),
        10,
    )
    liked_at = np.where(log.history > 0, log.item_features[log.history, 0], -1)
    assert (liked_at.max(axis=1) < log.time).all()
    assert (log.item_features[log.slate, 0].min(axis=1) == log.time).all()


def test_ratings_load_fast(tmp_path: Path) -> None:
    write_1m(tmp_path)
    rng = np.random.default_rng(0)
    n_ratings = 200_000  # a fifth of 1M, so that the tests stay quick
    columns = (rng.integers(1, 4, n_ratings), rng.choice([1, 5, 7], n_ratings), rng.integers(1, 6, n_ratings))
    lines = map("::".join, zip(*(map(str, c) for c in (*columns, rng.integers(0, 10**9, n_ratings))), strict=True))
    (tmp_path / "ratings.dat").write_text("\n".join(lines) + "\n")
    start = time.process_time()
    log = load_movielens(tmp_path)
    assert time.process_time() - start < 4
    assert 19_997 <= len(log) <= 20_000
