"""Bundles of strangers: a small bundle is changed at random, with hashes that are right again, and then used.

`run_cases` is for long runs, `tests/bundle/test_tampering.py` for a short one:

    from tampering import run_cases
    run_cases(folder_of_a_small_bundle, scratch_folder, range(100_000))
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file, save_file

from hsrl_gym.bundle.folder import Bundle, load_bundle
from hsrl_gym.bundle.manifest import FILES, MANIFEST, sealed, unsealed
from hsrl_gym.bundle.simulators import responses_of
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.errors import HsrlError, is_unprintable, shown
from hsrl_gym.terminal import print_bundle, print_fidelity
from hsrl_gym.users.slices import popularity_groups, predict, score_slices, score_users

Random = np.random.Generator
N_STEPS = 4
LONGEST_SECONDS = 10.0  # of one case, in processor time
ESCAPE = "\x1b]0;owned\x07\x1b[31m"
WILD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 1000, 10**7, 2**31, 2**63, 10**30, 0.5, -0.5, 1e-300, 1e300),
    *(10**400, 16**5000),
    *(
        math.nan,
        math.inf,
        -math.inf,
        "",
        "x",
        "4",
        "nan",
        ESCAPE,
        "a\nb",
        "[/red]",
        "[link=http://x]y[/link]",
        "é" * 300,
    ),
    *([], {}, [1], [[1]], {"a": 1}, {1: 2}, [None], "x" * 2000, "SyntheticWorld('rl4rs', seed=0)", "../../etc/passwd"),
    *({"shape": "rl4rs", "seed": 0}, {"shape": 3}, {"train": {}}, {"train": None}, [math.nan], ["a", 1]),
)
NUMBERS = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1.0, 1e-30, 5.1, 100.0, 1e4, 1e5, 1e10, 1e20, -1e30, 3e38)
IDS = (-1, 0, 1, 2, 7, 8, 59, 60, 61, 62, 255, 65535, 2**31 - 1, -(2**31), 2**40)
TEXTS = (
    "extra: &a [1, 2]\nmore: [*a, *a]\n",
    "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "extra: " + "[" * 900 + "\n",
    "extra: " + "[" * 900 + "]" * 900 + "\n",
    "extra: " + "{a: " * 30 + "1" + "}" * 30 + "\n",
    f"extra: {'9' * 5000}\n",
    "extra: 2001-99-99\n",
    "extra: !!python/object/apply:os.system [true]\n",
    "extra: !!binary aGk=\n",
    "extra: !!int x\n",
    "? [a, b]\n: 1\n",
    "? {a: b}\n: 1\n",
    "<<: {name: other}\n",
    "<<: 3\n",
    "=: 1\n",
    "name: again\n",
    "--- second document\n",
    "\t\n",
    "\x00",
    "%YAML 9.9\n",
)


def run_cases(source: Path, scratch: Path, seeds: Iterable[int]) -> Counter[str]:
    """Change `source` once for each seed; return how many changed bundles were "played" and how many "refused".

    Raises:
        AssertionError: with the seed and the change, for a bundle that is neither: one that raised another error, paid
            a reward that is not finite, left its space, wrote control characters or took too long.
    """
    counts: Counter[str] = Counter()
    target = scratch / "tampered"
    for seed in seeds:
        change = "nothing yet"
        try:
            change = tamper(source, target, np.random.default_rng(seed))
            counts[outcome(target, seed)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {change}: {type(error).__name__}: {error}") from error
        finally:
            shutil.rmtree(target, ignore_errors=True)
    return counts


def outcome(folder: Path, seed: int = 0) -> str:
    """Use a bundle; return "played" if all went well, "refused" if there was one line that says why not."""
    start = time.process_time()
    try:
        _use(folder, seed)
        result = "played"
    except HsrlError as error:
        said = str(error)
        assert said, "an empty message"
        assert len(said) < 3_000, f"a message of {len(said)} characters"
        assert not is_unprintable(said), f"control characters in {said!r}"
        result = "refused"
    seconds = time.process_time() - start
    assert seconds < LONGEST_SECONDS, f"{seconds:.1f} s"
    return result


def _use(folder: Path, seed: int) -> None:
    bundle = load_bundle(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        print_bundle(bundle)
    if seed % 5 == 0:
        _inspect(bundle, printed)
    for simulator in ("train", "eval"):
        env = SlateEnv(bundle, simulator=simulator, render_mode="ansi")
        observation, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        for _ in range(N_STEPS):
            assert observation in env.observation_space, "an observation outside its space"
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert math.isfinite(reward), f"a reward of {reward}"
            assert math.isfinite(info["patience"]), f"a patience of {info['patience']}"
            print(env.render(), file=printed)
            if terminated or truncated:
                observation, _ = env.reset()
        users = bundle.simulators[simulator].prepared(env.sessions.core.profiles[:2])
        everything = np.arange(1, bundle.n_items + 1)
        _check_probabilities(users, env.sessions.core.histories[:2], everything)
    for line in printed.getvalue().split("\n"):
        assert not is_unprintable(line), f"control characters on the terminal: {line!r}"


def _inspect(bundle: Bundle, printed: io.StringIO) -> None:
    """Do what `hsrl-gym inspect` does, but for the pictures."""
    pool = bundle.users["eval"]
    predicted = predict(responses_of(bundle), pool)
    slices = score_slices(pool, popularity_groups(bundle.users["train"].slate, bundle.n_items), predicted)
    with contextlib.redirect_stdout(printed):
        print_fidelity(slices, score_users(pool.clicks, predicted))


def _check_probabilities(users: Any, histories: Any, items: np.ndarray) -> None:
    """Show every item of the catalog to two users."""
    slates = histories.new_tensor(np.tile(items, (2, 1)))
    probability = users(histories.new_tensor([0, 1])[: len(histories)], histories, slates[: len(histories)])
    assert bool(((probability >= 0) & (probability <= 1)).all()), "a click probability that is none"


# --- the changes


def tamper(source: Path, target: Path, rng: Random) -> str:
    """Copy the bundle `source` to `target` with one to three changes; return them in words."""
    shutil.copytree(source, target)
    n_changes = 1 if rng.random() < 0.8 else int(rng.integers(2, 4))
    return "; ".join(_change(target, rng) for _ in range(n_changes))


def _change(folder: Path, rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return _change_manifest(folder, rng)
    if kind < 0.93:
        return _change_arrays(folder, rng)
    return _change_labels(folder, rng)


def _pick(rng: Random, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _change_manifest(folder: Path, rng: Random) -> str:
    path = folder / MANIFEST
    text, _ = unsealed(path.read_bytes())
    change = _pick(rng, (_set_value, _set_value, _set_value, _change_key, _change_list, _change_text, _flip_text))
    if change in (_change_text, _flip_text):
        words, text = change(text, rng)
    else:
        try:
            content = yaml.safe_load(text)
        except Exception:  # changed before
            return "nothing more"
        if not isinstance(content, dict):
            return "nothing more"
        words = change(content, rng)
        text = as_yaml(content)
    keeps_hash = rng.random() < 0.1
    path.write_bytes(path.read_bytes()[: -len(text)] + text if keeps_hash else sealed(text))
    return f"manifest: {words}{' (hash not right)' if keeps_hash else ''}"


class _Dumper(yaml.SafeDumper):
    """The safe dumper that writes large whole numbers in hexadecimal: Python writes no more than 4,300 digits."""

    def represent_int(self, data: int) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:int", hex(data) if abs(data) >= 2**63 else str(data))


_Dumper.add_representer(int, _Dumper.represent_int)


def as_yaml(content: Any) -> bytes:
    """Return plain values as YAML, whole numbers of any length among them."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False).encode()


def _places(value: Any, name: str = "", seen: set[int] | None = None) -> list[tuple[Any, Any, str]]:
    """Return container, key and dotted name of every value in a tree; what aliases share is looked at once."""
    found: list[tuple[Any, Any, str]] = []
    seen = set() if seen is None else seen
    if isinstance(value, dict | list) and id(value) not in seen:
        seen.add(id(value))
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += [(value, key, f"{name}.{key}"), *_places(inner, f"{name}.{key}", seen)]
    return found


def _place(content: Any, rng: Random) -> tuple[Any, Any, str]:
    """Return a place in the tree; the upper ones more often than their number says."""
    places = _places(content)
    upper = [place for place in places if place[2].count(".") <= 2]
    return _pick(rng, upper if rng.random() < 0.7 else places)


def _set_value(content: Any, rng: Random) -> str:
    container, key, name = _place(content, rng)
    container[key] = copy.deepcopy(_pick(rng, WILD))  # later changes must not change WILD itself
    return f"{name} = {shown(container[key], 80)}"


def _change_key(content: Any, rng: Random) -> str:
    tables = [content, *(place[0][place[1]] for place in _places(content))]
    table = _pick(rng, [table for table in tables if isinstance(table, dict) and table])
    key = _pick(rng, list(table))
    action = _pick(rng, ("delete", "rename", "add"))
    if action == "add":
        table[_pick(rng, ("extra", "n_items", "", ESCAPE, 3, "members"))] = copy.deepcopy(_pick(rng, WILD))
    elif action == "rename":
        table[f"{key}x"] = table.pop(key)
    else:
        del table[key]
    return f"{action} at {key}"


def _change_list(content: Any, rng: Random) -> str:
    lists = [place[0][place[1]] for place in _places(content) if isinstance(place[0][place[1]], list)]
    if not lists:
        return "no list"
    values = _pick(rng, lists)
    action = _pick(rng, ("shorter", "longer", "empty", "double"))
    if action == "longer":
        values.append(copy.deepcopy(_pick(rng, WILD)))
    elif action == "double":
        values += values
    else:
        del values[0 if action == "empty" else -1 :]
    return f"a list gets {action}"


def _change_text(text: bytes, rng: Random) -> tuple[str, bytes]:
    added = _pick(rng, TEXTS).encode()
    if rng.random() < 0.5:
        return f"add {added[:30]!r}", text + added
    lines = text.splitlines(keepends=True)
    place = int(rng.integers(len(lines) + 1))
    return f"add {added[:30]!r} at line {place}", b"".join([*lines[:place], added, *lines[place:]])


def _flip_text(text: bytes, rng: Random) -> tuple[str, bytes]:
    changed = bytearray(text)
    for _ in range(int(rng.integers(1, 5))):
        if changed:
            changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    if rng.random() < 0.2:
        del changed[int(rng.integers(len(changed) + 1)) :]
    return "bytes", bytes(changed)


def _rehash(folder: Path, name: str) -> None:
    """Write the present hash of a file into the manifest, as text: what else was changed there stays."""
    path = folder / MANIFEST
    text, right = unsealed(path.read_bytes())
    lines = text.decode("utf-8", errors="surrogateescape").split("\n")
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    lines = [f"  {name}: {digest}" if line.startswith(f"  {name}: ") else line for line in lines]
    text = "\n".join(lines).encode("utf-8", errors="surrogateescape")
    if right:
        path.write_bytes(sealed(text))


def _change_arrays(folder: Path, rng: Random) -> str:
    name = _pick(rng, [name for name in FILES if name.endswith(".safetensors")])
    path = folder / name
    try:
        arrays = load_file(path)
    except Exception:  # changed before
        return "nothing more"
    if rng.random() < 0.2 or not arrays:
        words = _change_file(path, rng)
    else:
        key = _pick(rng, sorted(arrays))
        kinds: tuple[Callable[..., str], ...] = (_set_some, _set_some, _set_all, _reshape, _retype, _change_array_key)
        words = f"{key}: {_pick(rng, kinds)(arrays, key, rng)}"
        save_file({each: np.ascontiguousarray(values) for each, values in arrays.items()}, path)
    _rehash(folder, name)
    return f"{name}: {words}"


def _cast(value: Any, kind: np.dtype) -> Any:
    with np.errstate(all="ignore"):
        if kind.kind == "f":
            return np.float64(value).astype(kind)
        return np.array(0 if not np.isfinite(value) else int(max(min(value, 2**40), -(2**40)))).astype(kind)


def _set_some(arrays: dict[str, Any], key: str, rng: Random) -> str:
    values = arrays[key].copy()
    value = _pick(rng, NUMBERS if values.dtype.kind == "f" else IDS)
    n = min(int(rng.integers(1, 4)), values.size)
    flat = values.reshape(-1)
    for place in rng.integers(max(values.size, 1), size=n):
        flat[int(place)] = _cast(value, values.dtype)
    arrays[key] = values
    return f"{n} are {value}"


def _set_all(arrays: dict[str, Any], key: str, rng: Random) -> str:
    values = arrays[key]
    if values.dtype.kind == "f" and rng.random() < 0.5:
        factor = float(10.0 ** rng.integers(-20, 20))
        with np.errstate(all="ignore"):
            arrays[key] = (values.astype(np.float64) * factor).astype(values.dtype)
        return f"times {factor:g}"
    value = _pick(rng, NUMBERS if values.dtype.kind == "f" else IDS)
    arrays[key] = np.full_like(values, _cast(value, values.dtype))
    return f"all are {value}"


def _reshape(arrays: dict[str, Any], key: str, rng: Random) -> str:
    values = arrays[key]
    shapes = {
        "one row less": values[:-1],
        "one row more": np.concatenate([values, values[-1:]]),
        "twice": np.concatenate([values, values]),
        "no row": values[:0],
        "one row": values[:1],
        "transposed": values.T,
        "flat": values.reshape(-1),
        "an axis more": values[None],
        "one column less": values[..., :-1],
        "no column": values[..., :0],
    }
    name = _pick(rng, sorted(shapes))
    arrays[key] = shapes[name]
    if rng.random() < 0.3:  # all arrays of as many rows alike
        for other, array in arrays.items():
            if other != key and array.ndim and len(array) == len(values) and name in ("one row less", "one row"):
                arrays[other] = array[:-1] if name == "one row less" else array[:1]
    return name


def _retype(arrays: dict[str, Any], key: str, rng: Random) -> str:
    kind = np.dtype(_pick(rng, ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")))
    with np.errstate(all="ignore"):
        arrays[key] = (
            np.nan_to_num(arrays[key].astype(np.float64), posinf=0, neginf=0).clip(-(2**31), 2**31).astype(kind)
        )
    return f"as {kind}"


def _change_array_key(arrays: dict[str, Any], key: str, rng: Random) -> str:
    action = _pick(rng, ("delete", "rename", "add", "swap"))
    other = _pick(rng, sorted(arrays))
    if action == "add":
        arrays[_pick(rng, ("extra", f"members.0.{key}", "centroids_9", "vectors", "row", ESCAPE))] = arrays[key]
    elif action == "swap":
        arrays[key], arrays[other] = arrays[other], arrays[key]
    else:
        values = arrays.pop(key)
        if action == "rename":
            arrays[f"{key}x"] = values
    return action


def _change_file(path: Path, rng: Random) -> str:
    """Change the bytes of a safetensors file: its header as JSON, bytes anywhere, or its length."""
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    kind = _pick(rng, ("header", "bytes", "cut", "length"))
    if kind == "header":
        header = json.loads(content[8 : 8 + size])
        entry = header[_pick(rng, [name for name in sorted(header) if name != "__metadata__"])]
        field = _pick(rng, ("dtype", "shape", "data_offsets"))
        kinds = ("F32", "F64", "BF16", "F8_E4M3", "I64", "X", "", 3)
        sizes = ([10**9], [-1], [], [2**62, 4], "x", [0], [1.5], None)
        entry[field] = _pick(rng, kinds) if field == "dtype" else _pick(rng, sizes)
        text = json.dumps(header).encode()
        content = bytearray(len(text).to_bytes(8, "little") + text + content[8 + size :])
    elif kind == "bytes":
        most = 8 + size if rng.random() < 0.5 else len(content)
        for _ in range(int(rng.integers(1, 5))):
            content[int(rng.integers(most))] = int(rng.integers(256))
    elif kind == "cut":
        del content[int(rng.integers(len(content))) :]
    else:
        content[:8] = int(_pick(rng, (0, 1, size + 1, 2**40, 2**63))).to_bytes(8, "little")
    path.write_bytes(content)
    return kind


def _change_labels(folder: Path, rng: Random) -> str:
    path = folder / "item_labels.txt"
    lines = path.read_bytes().split(b"\n")
    place = int(rng.integers(len(lines)))
    kind = _pick(rng, ("cut", "more", "escape", "bytes", "separators", "empty", "long"))
    if kind == "cut":
        del lines[place:]
    elif kind == "empty":
        lines = []
    else:
        label = {
            "more": b"a\nb",
            "escape": ESCAPE.encode(),
            "bytes": b"\xff\xfe\x80",
            "separators": "a\r\x0b\x85\u2028b\u202ec\x9b31m".encode(),
            "long": b"x" * 100_000,
        }[kind]
        for each in range(place, len(lines) if rng.random() < 0.3 else min(place + 1, len(lines))):
            lines[each] = label
    path.write_bytes(b"\n".join(lines))
    _rehash(folder, "item_labels.txt")
    return f"labels: {kind} at {place}"
