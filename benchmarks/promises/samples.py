"""Small valid logs of every format, as the contents of their files by name; the fuzz test damages them."""

from __future__ import annotations

from collections.abc import Callable

Files = dict[str, bytes]

_USERS, _MOVIES = 3, 12
_GENRES = ("Action", "Comedy", "Drama")


def _ratings() -> list[tuple[int, int, int, int]]:
    """Return user, movie, rating and time: one slate of ten for two users, too little of the third."""
    return [
        (user, movie, 1 + (user + movie * movie) % 5, 1_000 * user + movie)
        for user in range(1, _USERS + 1)
        for movie in range(1, (_MOVIES if user < _USERS else 3) + 1)
    ]


def _joined(rows: list[list[object]], separator: str, encoding: str = "utf-8") -> bytes:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode(encoding)


def ml1m() -> Files:
    """Return MovieLens-1M's files."""
    movies = [[n, f"Film {n} ({1980 + n})", "|".join(_GENRES[: 1 + n % 3])] for n in range(1, _MOVIES + 1)]
    users = [[n, "FM"[n % 2], 25, n % 4, "12345"] for n in range(1, _USERS + 1)]
    return {
        "ratings.dat": _joined([list(row) for row in _ratings()], "::"),
        "movies.dat": _joined(movies, "::", "latin-1"),
        "users.dat": _joined(users, "::"),
    }


def ml100k() -> Files:
    """Return MovieLens-100K's own files."""
    movies = [
        [n, f"Film {n} ({1980 + n})", f"01-Jan-{1980 + n}", "", "http://x", *(int(n % 19 == g) for g in range(19))]
        for n in range(1, _MOVIES + 1)
    ]
    users = [[n, 20 + n, "FM"[n % 2], "artist", "12345"] for n in range(1, _USERS + 1)]
    return {
        "u.data": _joined([list(row) for row in _ratings()], "\t"),
        "u.item": _joined(movies, "|", "latin-1"),
        "u.user": _joined(users, "|"),
    }


def ml_latest() -> Files:
    """Return the files of MovieLens' latest release; one title has a comma and quotes."""
    movies: list[list[object]] = [["movieId", "title", "genres"]]
    movies += [[n, f"Film {n} ({1980 + n})", _GENRES[n % 3]] for n in range(1, _MOVIES)]
    movies.append([_MOVIES, '"Film, ""the"" (1999)"', "(no genres listed)"])
    ratings: list[list[object]] = [["userId", "movieId", "rating", "timestamp"]]
    ratings += [list(row) for row in _ratings()]
    return {"ratings.csv": _joined(ratings, ","), "movies.csv": _joined(movies, ",")}


def atomic() -> Files:
    """Return atomic files with every kind of field."""
    inter: list[list[object]] = [["user_id:token", "item_id:token", "rating:float", "timestamp:float"]]
    inter += [[f"u{user}", f"i{movie}", rating, time] for user, movie, rating, time in _ratings()]
    item: list[list[object]] = [["item_id:token", "title:token_seq", "tags:token_seq", "price:float", "v:float_seq"]]
    item += [[f"i{n}", f"Film {n}", " ".join(_GENRES[: n % 3]), n / 2, f"{n} 0.5"] for n in range(1, _MOVIES + 1)]
    user: list[list[object]] = [["user_id:token", "city:token", "age:float", "likes:token_seq"]]
    user += [[f"u{n}", "Rome", 20 + n, "Drama"] for n in range(1, _USERS + 1)]
    return {"toy.inter": _joined(inter, "\t"), "toy.item": _joined(item, "\t"), "toy.user": _joined(user, "\t")}


def ml100k_atomic() -> Files:
    """Return RecBole's copy of MovieLens-100K."""
    inter: list[list[object]] = [["user_id:token", "item_id:token", "rating:float", "timestamp:float"]]
    inter += [list(row) for row in _ratings()]
    item: list[list[object]] = [
        ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"],
        *([n, f"Film {n}", 1980 + n, "Drama Comedy"] for n in range(1, _MOVIES + 1)),
    ]
    user: list[list[object]] = [
        ["user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"],
        *([n, 20 + n, "FM"[n % 2], "artist", "12345"] for n in range(1, _USERS + 1)),
    ]
    names = ("inter", "item", "user")
    return {f"ml-100k.{name}": _joined(rows, "\t") for name, rows in zip(names, (inter, item, user), strict=True)}


def rl4rs() -> Files:
    """Return RL4RS's files: 8 items, slates of three."""
    header = (
        "timestamp@session_id@sequence_id@exposed_items@user_feedback@user_seqfeature@user_protrait@item_feature@"
        "behavior_policy_id\n"
    )

    def row(n: int) -> str:
        slate = [1 + (n + k) % 8 for k in range(3)]
        clicks = [(n + k) % 2 for k in range(3)]
        profile = [n + k / 4 for k in range(42)]
        cells = [n * 10, n // 2, 1, _list(slate), _list(clicks), _list([1, 2][: n % 3]) or 0, _list(profile), "0", 1]
        return "@".join(map(str, cells)) + "\n"

    items = [f"{n} {_list([n / 8 + k for k in range(40)])} 7.0 1 0\n" for n in range(1, 9)]
    return {
        "train.csv": (header + "".join(row(n) for n in range(1, 6))).encode(),
        "test.csv": (header + "".join(row(n) for n in range(6, 9))).encode(),
        "item_info.csv": ("item_id item_vec price location special_item\n" + "".join(items)).encode(),
    }


def _list(numbers: list[float] | list[int]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def csv() -> Files:
    """Return a log as people have them, with slates of its own and a quoted name."""
    rows: list[list[object]] = [["user", "item", "time", "click", "slate"]]
    for user in range(1, _USERS + 1):
        rows += [
            [f'"u, {user}"', f"i{1 + (user + place) % 5}", f"2024-01-0{user} 10:00:0{place}", place % 2, place // 3]
            for place in range(6)
        ]
    return {"log.csv": _joined(rows, ",")}


# By name of the sample: the format's name in `hsrl-gym build`, and the files. "csv" is read from its one file.
SAMPLES: dict[str, tuple[str, Callable[[], Files]]] = {
    "ml1m": ("ml1m", ml1m),
    "ml100k": ("ml100k", ml100k),
    "ml100k-atomic": ("ml100k", ml100k_atomic),
    "ml-latest": ("ml-latest", ml_latest),
    "atomic": ("atomic", atomic),
    "rl4rs": ("rl4rs", rl4rs),
    "csv": ("csv", csv),
}
