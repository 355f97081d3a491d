"""The `hsrl-gym` command: fetch data, build a bundle, inspect one, play in it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hsrl_gym import __version__
from hsrl_gym.data.interactions import USUAL
from hsrl_gym.data.readers import READERS, check_settings
from hsrl_gym.data.sources import DATASETS
from hsrl_gym.errors import HsrlError, open_device, unknown_name
from hsrl_gym.play import add_play
from hsrl_gym.users.large import is_large
from hsrl_gym.users.small import SMALL_LOG, ensemble_size_for

if TYPE_CHECKING:  # imported where it is used, so that the command starts fast
    from hsrl_gym.data.log import InteractionLog

_FORMATS = (*READERS, "synthetic")
_ROLES = {
    "user": "who it was shown to",
    "item": "what was shown",
    "time": "when: numbers or dates",
    "click": "0 or 1, true or false",
    "rating": "instead of clicks",
    "slate": "which rows were shown together",
}
_OF_READERS = (*USUAL, "items", "slate_size", "like_above")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 2 after one line about an error, or 130 after an interruption."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        with _notes():
            command(options)
    except HsrlError as error:
        print(f"hsrl-gym: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hsrl-gym: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hsrl-gym: interrupted; no incomplete file was left.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hsrl-gym", description=__doc__)
    parser.add_argument("--version", action="version", version=f"hsrl-gym {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", help="download a public data set into the cache folder (HSRL_DATA)")
    fetch.add_argument("name", help=", ".join(DATASETS))
    fetch.set_defaults(command=_fetch)

    build = commands.add_parser("build", help="fit user models and a codebook to logs, and write a bundle")
    build.add_argument("format", help=f"format of the logs: {', '.join(_FORMATS)}")
    build.add_argument(
        "--logs", type=Path, help="folder of the logs (default: where `fetch` put them); of csv, the file"
    )
    build.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    build.add_argument("--force", action="store_true", help="replace the bundle that is there")
    build.add_argument("--name", help="name of the bundle in tables (default: that of its folder)")
    build.add_argument("--shape", default="rl4rs", help="shape of a synthetic world: rl4rs or ml1m")
    build.add_argument("--slates", type=int, default=60_000, help="number of slates in a synthetic log")
    build.add_argument("--levels", type=int, default=3, help="number of levels of a semantic ID, L")
    build.add_argument("--vocab", type=int, default=64, help="tokens per level, V")
    build.add_argument("--codebook", default="behaviour", help="vectors behind the semantic IDs: behaviour or features")
    build.add_argument(
        "--ensemble-size",
        "--members",
        type=int,
        help=f"fits per user model, which is their mean (default: 3 below {SMALL_LOG:,} slates, else 1)",
    )
    build.add_argument("--pool", type=int, default=20_000, help="maximum number of logged rows in each user pool")
    build.add_argument("--epochs", type=int, default=8, help="maximum number of epochs of a fit")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--device", default="cpu", help="device of the fits: cpu or cuda")
    build.set_defaults(command=_build)

    own = build.add_argument_group("your own log (format csv)", "A row for each item shown or rated, CSV or parquet.")
    for role, what in _ROLES.items():
        own.add_argument(f"--{role}", metavar="COLUMN", help=f"{what} (default: {' or '.join(USUAL[role])})")
    own.add_argument("--items", type=Path, metavar="FILE", help="table of the items: titles, features (default: none)")
    cut = build.add_argument_group("how ratings become slates")
    cut.add_argument(
        "--slate-size", type=int, metavar="K", help="items in a slate (default: as logged most often, or 10)"
    )
    cut.add_argument("--like-above", type=float, metavar="R", help="ratings above it are clicks (default: 3)")

    inspect = commands.add_parser("inspect", help="print the content of a bundle, and draw its pictures")
    inspect.add_argument("bundle", help="folder of a bundle, or rl4rs / ml1m for the packaged ones")
    inspect.add_argument("--out", type=Path, help="folder for the PNGs (default: results/inspect/NAME)")
    inspect.set_defaults(command=_inspect)
    add_play(commands)
    return parser


def _fetch(options: argparse.Namespace) -> None:
    from hsrl_gym.data.fetch import fetch

    print(fetch(options.name))


def _build(options: argparse.Namespace) -> None:
    from hsrl_gym.bundle.build import CODEBOOKS, build_bundle
    from hsrl_gym.bundle.folder import check_target, save_bundle
    from hsrl_gym.bundle.manifest import check_name
    from hsrl_gym.terminal import print_bundle
    from hsrl_gym.users.fit import FitSettings

    for setting in ("slates", "levels", "vocab", "pool", "epochs", "ensemble_size", "slate_size"):
        value = getattr(options, setting)
        if value is not None and value < 1:
            raise HsrlError(f"got --{setting.replace('_', '-')} {value}, expected at least 1.")
    if options.format not in _FORMATS:
        raise unknown_name("format", options.format, _FORMATS)
    if options.codebook not in CODEBOOKS:
        raise unknown_name("codebook", options.codebook, CODEBOOKS)
    if not 0 <= options.seed < 2**31:
        raise HsrlError(f"got --seed {options.seed}, expected 0 to {2**31 - 1}.")
    name = options.name or options.out.resolve().name
    check_name("--name", name)
    open_device(options.device)
    check_target(options.out, options.force)  # before the work, not after it
    log = _load(options)
    print(f"{len(log):,} logged slates of {log.slate_size}, {log.n_items:,} items, click rate {log.clicks.mean():.3f}")
    if options.codebook == "features" and not log.item_features.any():
        raise HsrlError("got --codebook features, but the log has no item features; give --items, or leave it out.")
    if is_large(log.n_items) and not log.item_features.any():
        print("warning: of so many items most have few clicks, and no features tell what they are; give --items")
    n_ids = options.vocab**options.levels
    if n_ids < log.n_items:
        few = f"{n_ids:,} semantic IDs for {log.n_items:,} items"
        print(f"warning: {few}: not every item can have its own; raise --vocab or --levels")
    ensemble_size = _ensemble_size(options.ensemble_size, len(log))
    bundle = build_bundle(
        log,
        options.levels,
        options.vocab,
        options.seed,
        options.device,
        settings=FitSettings(max_epochs=options.epochs),
        pool_rows=options.pool,
        codebook=options.codebook,
        ensemble_size=ensemble_size,
    )
    bundle = replace(bundle, name=name)
    folder = save_bundle(bundle, options.out)
    print_bundle(bundle)
    print(f"bundle: {folder} (what its users are good for, and pictures: `hsrl-gym inspect {folder}`)")


def _ensemble_size(given: int | None, n_slates: int) -> int:
    """Return the number of fits per user model, and print why where the log is small."""
    advised = ensemble_size_for(n_slates)
    small = f"{n_slates:,} slates are few (below {SMALL_LOG:,})"
    if given is None and advised > 1:
        print(
            f"{small}: each user is the mean of {advised} fits, as one fit invents much; --ensemble-size says otherwise"
        )
    elif given is not None and given < advised:
        print(f"warning: {small}, and agents learn what a single fit invents; leave out --ensemble-size {given}")
    return given or advised


def _load(options: argparse.Namespace) -> InteractionLog:
    settings = {name: getattr(options, name) for name in _OF_READERS if getattr(options, name) is not None}
    check_settings(options.format, settings)
    if options.format == "synthetic":
        from hsrl_gym.envs.synthetic_log import write_log
        from hsrl_gym.users.synthetic import SyntheticWorld

        return write_log(SyntheticWorld(options.shape, options.seed), options.slates)
    from hsrl_gym.data.readers import read_logs

    return read_logs(options.format, options.logs, **settings)


@contextmanager
def _notes() -> Iterator[None]:
    """Print what the package notes, for instance how many rows a reader left out."""
    logger, handler = logging.getLogger("hsrl_gym"), logging.StreamHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _inspect(options: argparse.Namespace) -> None:
    from hsrl_gym.bundle.build import TRAIN_FRACTION
    from hsrl_gym.bundle.folder import load_bundle
    from hsrl_gym.bundle.simulators import responses_of
    from hsrl_gym.bundle.store import PACKAGED
    from hsrl_gym.figures import draw_codebook_use, draw_fidelity, draw_reliability
    from hsrl_gym.terminal import print_bundle, print_fidelity, print_verdict
    from hsrl_gym.users.slices import popularity_groups, predict, score_slices, score_users
    from hsrl_gym.users.verdict import verdict, weigh

    packaged = PACKAGED / options.bundle
    folder = packaged if not Path(options.bundle).exists() and packaged.exists() else Path(options.bundle)
    bundle = load_bundle(folder)
    pool = bundle.users["eval"]
    responses = responses_of(bundle)
    predicted = predict(responses, pool)
    slices = score_slices(pool, popularity_groups(bundle.users["train"].slate, bundle.n_items), predicted)
    print_bundle(bundle)
    print_fidelity(slices, score_users(pool.clicks, predicted))
    n_slates = bundle.provenance.get("n_logged_slates")
    n_train = int(n_slates * TRAIN_FRACTION) if isinstance(n_slates, int) else 0
    if "train" in bundle.fidelity:  # bundles of others may say nothing of it
        print_verdict(verdict(weigh(bundle.fidelity, responses, bundle.users, bundle.n_items, n_train)))
    out = options.out or Path("results/inspect") / folder.name
    out.mkdir(parents=True, exist_ok=True)
    draw_reliability(bundle.fidelity, out / "reliability.png")
    draw_codebook_use(bundle.codebook, out / "codebook.png")
    draw_fidelity(slices, out / "fidelity.png")
    print(f"pictures: {', '.join(str(out / name) for name in ('reliability.png', 'fidelity.png', 'codebook.png'))}")


if __name__ == "__main__":
    sys.exit(main())
