"""MovieLens as logged slates (Appendix A of the paper): 1M, 100K, latest, and 100K in RecBole's atomic form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.atomic import AtomicField, atomic_files, read_atomic
from hsrl_gym.data.encoding import codes_by_frequency, multi_hot
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.ratings import LIKE_ABOVE, SLATE_SIZE, Ratings, slates_from_ratings
from hsrl_gym.data.text import TextColumn, existing_folder, file_names, integer_ids, read_columns
from hsrl_gym.errors import HsrlError, listed

# In the order of the 19 flags of u.item (100K).
GENRES_100K = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_RATING = ("user_id", "item_id", "rating", "timestamp")
_LATEST = ("userId", "movieId", "rating", "timestamp")
_NO_GENRE = "(no genres listed)"


@dataclass(frozen=True)
class _Tables:
    """The tables that every version of MovieLens has.

    Attributes:
        name: "ml-1m", "ml-100k" or "ml-latest".
        ratings: the columns user_id, item_id, rating and timestamp.
        movie: ids of the N movies.
        titles: N titles, mostly with the year at the end.
        years: N texts with the year at the end, or without one if it is unknown.
        genres: N lists of genre names.
        user: the ids of the U users; None if the version has no file of users.
        gender: U texts.
        occupation: U texts.
        age: U numbers as text.
    """

    name: str
    ratings: dict[str, TextColumn]
    movie: TextColumn
    titles: Sequence[str]
    years: Sequence[str]
    genres: Sequence[Sequence[str]]
    user: TextColumn | None = None
    gender: Sequence[str] = ()
    occupation: Sequence[str] = ()
    age: TextColumn | None = None


def load_movielens(folder: str | Path, slate_size: int = SLATE_SIZE, like_above: float = LIKE_ABOVE) -> InteractionLog:
    """Read the MovieLens data in `folder`; its files tell the version.

    1M has `ratings.dat`, `movies.dat` and `users.dat`. 100K has `u.data`, `u.item` and `u.user`, or RecBole's atomic
    files `ml-100k.inter`, `.item` and `.user`. Latest has `ratings.csv` and `movies.csv`.

    - A rating above `like_above` is a click. For slates, history and time, see `slates_from_ratings`. (The reference
      code uses slates of 9, the paper 10.)
    - Profile: codes of gender and occupation (1 for the most frequent value, 2 for the next, ...), then the age in
      years; in 1M it is the lower end of an age bracket. `n_categorical` is 2. The zip code is left out, as nearly
      every user has a different one. Latest has no file of users, and counts of ratings would reveal the user's
      future; every profile is a single 0.
    - Item features: each genre as 0 or 1 (18 in 1M, 19 in 100K), (year - 1980) / 20, and 1 where the year is missing.
      No feature comes from ratings.

    Args:
        folder: contains the files of one version.
        slate_size: K, items per slate.
        like_above: ratings above it are clicks.

    Raises:
        HsrlError: for missing files, or a line that cannot be used (with file and line).
    """
    path = existing_folder(folder, "the files of one MovieLens version")
    tables = _reader(path)(path)
    user_ids = tables.user.unique() if tables.user else tuple(dict.fromkeys(tables.ratings["user_id"].cells))
    rated_by = tables.ratings["user_id"]
    rating: NDArray[np.float64] = tables.ratings["rating"].numbers(np.float64)
    ratings = Ratings(
        name=tables.name,
        source=f"MovieLens, {rated_by.path.name} in folder {path.name!r}",
        user=rated_by.positions(user_ids, tables.user.path if tables.user else rated_by.path),
        item=tables.ratings["item_id"].positions(tables.movie.unique(), tables.movie.path),
        click=rating > like_above,
        time=tables.ratings["timestamp"].numbers(np.int64),
        user_ids=integer_ids(user_ids),
        profile=_profile(tables, len(user_ids)),
        item_features=_item_features(tables),
        item_labels=tables.titles,
        n_categorical=2 if tables.user else 0,
    )
    return slates_from_ratings(ratings, slate_size)


def _reader(folder: Path) -> Callable[[Path], _Tables]:
    """Return the function that reads the version whose ratings are in `folder`."""
    readers = {"ratings.dat": _read_1m, "u.data": _read_100k, "ratings.csv": _read_latest}
    for name, reader in readers.items():
        if (folder / name).is_file():
            return reader
    if any(folder.glob("*.inter")):
        return _read_atomic_100k
    raise HsrlError(
        f"{folder}: got {file_names(folder)}, expected one of {', '.join(readers)} or ml-100k.inter; give the "
        "folder that holds the ratings themselves."
    )


def _read_1m(folder: Path) -> _Tables:
    """Read "::" between fields, latin-1."""
    movies = read_columns(folder / "movies.dat", "::", ("item_id", "title", "genres"), "latin-1")
    users = read_columns(folder / "users.dat", "::", ("user_id", "gender", "age", "occupation", "zip"), "latin-1")
    return _Tables(
        name="ml-1m",
        ratings=read_columns(folder / "ratings.dat", "::", _RATING, "latin-1"),
        movie=movies["item_id"],
        titles=movies["title"].cells,
        years=movies["title"].cells,
        genres=[_genres(cell) for cell in movies["genres"].cells],
        user=users["user_id"],
        gender=users["gender"].cells,
        occupation=users["occupation"].cells,
        age=users["age"],
    )


def _read_100k(folder: Path) -> _Tables:
    """Read tabs between the fields of ratings and "|" between those of movies and users, latin-1."""
    names = ("item_id", "title", "release_date", "video_date", "url", *GENRES_100K)
    movies = read_columns(folder / "u.item", "|", names, "latin-1")
    users = read_columns(folder / "u.user", "|", ("user_id", "age", "gender", "occupation", "zip"), "latin-1")
    flags = np.stack([movies[genre].numbers(np.int64) for genre in GENRES_100K], axis=1)
    titles, dates = movies["title"].cells, movies["release_date"].cells
    return _Tables(
        name="ml-100k",
        ratings=read_columns(folder / "u.data", "\t", _RATING),
        movie=movies["item_id"],
        titles=titles,
        years=[title if _year(title) else f"({date[-4:]})" for title, date in zip(titles, dates, strict=True)],
        genres=[[GENRES_100K[genre] for genre in np.flatnonzero(row)] for row in flags],
        user=users["user_id"],
        gender=users["gender"].cells,
        occupation=users["occupation"].cells,
        age=users["age"],
    )


def _read_latest(folder: Path) -> _Tables:
    """Read comma-separated files with a header, utf-8; titles with a comma are quoted."""
    movies = read_columns(folder / "movies.csv", ",", quoted=True)
    ratings = read_columns(folder / "ratings.csv", ",")
    return _Tables(
        name="ml-latest",
        ratings={name: _column(ratings, column) for name, column in zip(_RATING, _LATEST, strict=True)},
        movie=_column(movies, "movieId"),
        titles=_column(movies, "title").cells,
        years=_column(movies, "title").cells,
        genres=[_genres(cell) for cell in _column(movies, "genres").cells],
    )


def _column(columns: dict[str, TextColumn], name: str) -> TextColumn:
    if name not in columns:
        path = next(iter(columns.values())).path
        raise HsrlError(f"{path}, line 1: got columns {listed(columns)}, expected {name} among them; fetch it again.")
    return columns[name]


def _read_atomic_100k(folder: Path) -> _Tables:
    """Read RecBole's copy of 100K: the same rows in the same order, the year in a field of its own."""
    inter, item, user = atomic_files(folder)
    if item is None or user is None:
        missing = ".item" if item is None else ".user"
        raise HsrlError(
            f"{folder}: got no {missing} file, expected one; use load_atomic for other data than MovieLens."
        )
    interactions, movies, users = read_atomic(inter), read_atomic(item), read_atomic(user)
    titles, years = _cells(movies, "movie_title", item), _cells(movies, "release_year", item)
    # Two years are wrong there: "unkonwn", and a "V" for a movie whose title has the year.
    in_title = [bool(_year(title)) for title in titles]
    dated = [t if known else f"{t} ({y})" for t, y, known in zip(titles, years, in_title, strict=True)]
    return _Tables(
        name="ml-100k",
        ratings={name: _atomic_column(interactions, name, inter) for name in _RATING},
        movie=_atomic_column(movies, "item_id", item),
        titles=[d if _year(d) else t for d, t in zip(dated, titles, strict=True)],
        years=dated,
        genres=[cell.split() for cell in _cells(movies, "class", item)],
        user=_atomic_column(users, "user_id", user),
        gender=_cells(users, "gender", user),
        occupation=_cells(users, "occupation", user),
        age=_atomic_column(users, "age", user),
    )


def _atomic_column(fields: dict[str, AtomicField], name: str, path: Path) -> TextColumn:
    if name not in fields:
        raise HsrlError(
            f"{path}, line 1: got the fields {listed(fields)}, expected {name} among them as in RecBole's ml-100k; "
            "use load_atomic for other data."
        )
    return fields[name].column


def _cells(fields: dict[str, AtomicField], name: str, path: Path) -> Sequence[str]:
    return _atomic_column(fields, name, path).cells


def _genres(cell: str) -> list[str]:
    return [] if cell == _NO_GENRE else cell.split("|")


def _year(text: str) -> int:
    """Return the year in brackets at the end of a title, 0 if there is none."""
    match = re.search(r"\((\d{4})\)\s*$", text)
    return int(match[1]) if match else 0


def _profile(tables: _Tables, n_users: int) -> NDArray[np.float32]:
    """Return the profiles, (U, 3): gender, occupation, age; or (U, 1) zeros."""
    if tables.age is None:
        return np.zeros((n_users, 1), dtype=np.float32)
    columns = [tables.age.numbers(np.float32)]
    for cells in (tables.occupation, tables.gender):
        code = codes_by_frequency(cells)
        columns.insert(0, np.array([code.get(cell, 0) for cell in cells], dtype=np.float32))
    return np.stack(columns, axis=1)


def _item_features(tables: _Tables) -> NDArray[np.float32]:
    """Return genres, year and whether the year is missing, (N, genres + 2)."""
    genres = multi_hot(tables.genres, sorted({genre for held in tables.genres for genre in held}))
    year = np.array([_year(text) for text in tables.years], dtype=np.float32)
    missing = (year == 0).astype(np.float32)
    scaled = np.where(year == 0, 0.0, (year - 1980) / 20)
    return np.column_stack([genres, scaled, missing]).astype(np.float32)
