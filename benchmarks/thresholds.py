"""Do certified thresholds keep what they promise, and what do they save?

The logits of a trained network on test images are taken for the whole world: of them, calibration
sets are drawn with replacement, thresholds are certified on each set as ``reefl-edge calibrate``
does, and the truth is what they cost on all of the images. A promise made with 95% confidence may
be broken by at most 5% of the sets. In a world that has been shifted nothing is promised: what then
becomes of the promise is shown, too.

    python -m benchmarks.thresholds --bundle bundle --digits demo-out
"""

import os
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.apparatus.artifacts import say
from benchmarks.apparatus.documents import Bar, at_least, at_most, parser, write
from benchmarks.apparatus.kept_accuracy import CANDIDATES
from benchmarks.apparatus.worlds import World, cifar_world, digits_world, made_up_world
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import Bound, Promise, PromiseKind
from reefl_edge.data.clients.partition import dirichlet_partition
from reefl_edge.errors import PromiseError
from reefl_edge.thresholds.calibrate import CalibrationPlan, calibrate
from reefl_edge.thresholds.candidates import common_ladder
from reefl_edge.thresholds.certify import certify, default_bound
from reefl_edge.thresholds.exits import ExitAnswers

CONFIDENCE, NUM_SETS, SET_SIZES = 0.95, 1000, (100, 300, 1000)
PROMISES: tuple[tuple[PromiseKind, float, tuple[Bound, ...]], ...] = (
    ("max-drop", 1.0, ("betting", "binomial")),
    ("max-drop", 3.0, ("betting", "binomial")),
    ("max-disagreement", 0.02, ("binomial", "betting")),
    ("max-disagreement", 0.05, ("binomial", "betting")),
    ("max-mean-ms", 0.7, ("betting",)),  # of the time to the deepest exit
)
SAVING_LIMIT = 0.10
_PACK = "cifar100/cifar100.npz"


def main() -> None:
    """Draw sets from each world, certify, and write what became of the promises."""
    options = parser(__doc__, "thresholds")
    _add_inputs(options)
    arguments = options.parse_args()
    num_sets, sizes = (20, (300,)) if arguments.quick else (NUM_SETS, SET_SIZES)
    if arguments.quick:
        worlds = [made_up_world()]
    elif arguments.bundle is None or arguments.digits is None or arguments.data is None:
        print("skipped: give --bundle, --digits, and --data or REEFL_EDGE_DATA")
        return
    else:
        bundle = Bundle.open(arguments.bundle)
        worlds = [
            cifar_world(bundle, arguments.data, arguments.logits),
            digits_world(arguments.digits),
        ]
    certified = [row for world in worlds for row in common_rows(world, num_sets, sizes)]
    per_exit = [*per_exit_rows(worlds[0], num_sets, sizes[-1])]
    shifted = [*shifted_rows(worlds[0], num_sets)]
    write(
        arguments.output,
        settings={
            "num_sets": num_sets,
            "confidence": CONFIDENCE,
            "worlds": [
                f"{world.name} ({len(world.labels)} images; accuracy by exit "
                f"{_percents(world)}; ms up to each exit {_times(world)})"
                for world in worlds
            ],
            "weights": {world.name: world.weights for world in worlds},
        },
        bars=[*bars([*certified, *per_exit]), *saving_bars(certified, per_exit)],
        rows=certified,
        per_exit=per_exit,
        shifted=shifted,
    )


def _add_inputs(options: ArgumentParser) -> None:
    folder = os.environ.get("REEFL_EDGE_DATA")
    options.add_argument("--bundle", type=Path, help="a bundle of a network trained on --data")
    options.add_argument("--logits", type=Path, help="where to keep its answers, or has kept them")
    options.add_argument("--digits", type=Path, help="what reefl-edge demo has written")
    options.add_argument(
        "--data",
        type=Path,
        default=None if folder is None else Path(folder, _PACK),
        help="a data set with a split test",
    )


def _percents(world: World) -> str:
    shares = (world.logits.argmax(-1) == world.labels).mean(axis=1)
    return ", ".join(f"{share:.1%}" for share in shares)


def _times(world: World) -> str:
    return ", ".join(f"{each:.2f}" for each in world.exit_ms)


def _promise(world: World, kind: PromiseKind, limit: float) -> Promise:
    """Return a promise; of time, the limit is a share of the time to the deepest exit."""
    limit = limit * float(world.exit_ms[-1]) if kind == "max-mean-ms" else limit
    return Promise(kind=kind, limit=limit, confidence=CONFIDENCE)


def drawn_sets(num_images: int, num_sets: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Give sets of images, drawn with replacement, always the same."""
    generator = np.random.default_rng(size)
    for _ in range(num_sets):
        yield generator.integers(0, num_images, size)


def common_rows(world: World, num_sets: int, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Certify one threshold for all exits, by each bound, and compare with two other rules."""
    answers = world.answers()
    ladder = common_ladder(answers.num_exits)
    for kind, limit, bounds in PROMISES:
        promise = _promise(world, kind, limit)
        for size in sizes:
            sets = list(drawn_sets(len(world.labels), num_sets, size))
            for bound in bounds:
                say(f"{world.name}: {kind} {limit:g}, {size} images, {bound}")
                found = [_certified(answers.subset(each), promise, bound) for each in sets]
                yield {
                    **_named(world, kind, limit, size),
                    "rule": bound,
                    **_judged(found, answers, promise),
                }
            if kind == "max-drop":
                kept = [_keeping_accuracy(answers.subset(each), limit) for each in sets]
                yield {
                    **_named(world, kind, limit, size),
                    "rule": "accuracy kept on the set",
                    **_judged(kept, answers, promise),
                }
        risks, saved = _truth(ladder, answers, promise)
        held = risks <= promise.limit
        yield {
            **_named(world, kind, limit, 0),
            "rule": "best in hindsight",
            "num_sets": 0,
            "certified": 1.0,
            "broken": 0.0,
            "saved": float(saved[held].max(initial=0)),
        }


def _named(world: World, kind: str, limit: float, size: int) -> dict[str, Any]:
    return {"world": world.name, "promise": kind, "limit": limit, "num_images": size}


def _certified(answers: ExitAnswers, promise: Promise, bound: Bound) -> tuple[float, ...] | None:
    try:
        ladder = common_ladder(answers.num_exits)
        return certify(answers, ladder, promise, bound).thresholds
    except PromiseError:
        return None


def _keeping_accuracy(answers: ExitAnswers, max_drop: float) -> tuple[float, ...]:
    """Choose as the demo once did: the lowest of a few that loses no more on these images."""
    candidates = np.repeat(np.array(CANDIDATES)[:, None], answers.num_exits - 1, axis=1)
    taken = answers.exits_taken(candidates)
    right = answers.labels[taken, np.arange(answers.num_examples)] == answers.truth
    accuracies = right.mean(axis=1)
    lowest = int((accuracies >= accuracies[-1] - max_drop / 100).argmax())
    return tuple(map(float, candidates[lowest]))


def _truth(
    thresholds: NDArray[np.float64], answers: ExitAnswers, promise: Promise
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what thresholds (T, E - 1) cost in truth, as promised, and the share of time saved."""
    taken = answers.exits_taken(thresholds)
    losses = answers.losses(promise)[taken, np.arange(answers.num_examples)].mean(axis=1)
    risks = 100 * losses if promise.kind == "max-drop" else losses
    return risks, 1 - answers.exit_ms[taken].mean(axis=1) / answers.exit_ms[-1]


def _judged(
    found: Sequence[tuple[float, ...] | None], answers: ExitAnswers, promise: Promise
) -> dict[str, float]:
    """Tell how often a promise was made and broken, and what was saved; 0 where none was made."""
    made = [each for each in found if each is not None]
    if not made:
        return {"num_sets": len(found), "certified": 0.0, "broken": 0.0, "saved": 0.0}
    chosen, inverse = np.unique(np.array(made), axis=0, return_inverse=True)
    risks, saved = _truth(chosen, answers, promise)
    return {
        "num_sets": len(found),
        "certified": len(made) / len(found),
        "broken": float((risks[inverse] > promise.limit + 1e-9).sum()) / len(found),
        "saved": float(saved[inverse].sum()) / len(found),
    }


def per_exit_rows(world: World, num_sets: int, size: int) -> Iterator[dict[str, Any]]:
    """Certify thresholds per exit, with temperatures."""
    for kind, limit, _ in PROMISES:
        promise = _promise(world, kind, limit)
        plan = CalibrationPlan(promise=promise, is_per_exit=True, has_temperatures=True)
        say(f"{world.name}: {kind} {limit:g}, {size} images, per exit")
        judged = [
            _per_exit(world, plan, each) for each in drawn_sets(len(world.labels), num_sets, size)
        ]
        made = [each for each in judged if each is not None]
        yield {
            **_named(world, kind, limit, size),
            "rule": "per exit, temperatures",
            "num_sets": num_sets,
            "certified": len(made) / num_sets,
            "broken": sum(risk > promise.limit + 1e-9 for risk, _ in made) / num_sets,
            "saved": sum(saved for _, saved in made) / num_sets,
        }


def _per_exit(
    world: World, plan: CalibrationPlan, drawn: NDArray[np.int64]
) -> tuple[float, float] | None:
    """Return the true cost of what one set certifies, and the share of time it saves."""
    try:
        found = calibrate(world.logits[:, drawn], world.labels[drawn], plan, exit_ms=world.exit_ms)
    except PromiseError:
        return None
    answers = world.answers(found.temperatures)
    risks, saved = _truth(np.array([found.thresholds]), answers, plan.promise)
    return float(risks[0]), float(saved[0])


def shifted_rows(world: World, num_sets: int) -> Iterator[dict[str, Any]]:
    """Certify on the largest sets of the world, and judge in others."""
    shifted = {
        name: replace(world, logits=logits, labels=labels).answers()
        for name, (logits, labels) in world.shifted.items()
    }
    here = world.answers()
    clients = dirichlet_partition(world.labels, num_clients=10, alpha=0.1, seed=0)
    own, other = here.subset(clients[0]), here.subset(clients[1])
    for kind, limit, bounds in PROMISES:
        if kind == "max-mean-ms":
            continue
        promise = _promise(world, kind, limit)
        sizes = (SET_SIZES[-1],)
        places = {name: (here, answers) for name, answers in shifted.items()}
        places["another client's classes"] = (own, other)
        for name, (drawn_from, judged_on) in places.items():
            say(f"{world.name}: {kind} {limit:g}, {name}")
            sets = drawn_sets(drawn_from.num_examples, num_sets, sizes[0])
            found = [_certified(drawn_from.subset(each), promise, bounds[0]) for each in sets]
            made = np.array([each for each in found if each is not None])
            if not len(made):
                continue
            chosen, inverse = np.unique(made, axis=0, return_inverse=True)
            risks, _ = _truth(chosen, judged_on, promise)
            yield {
                **_named(world, kind, limit, sizes[0]),
                "rule": bounds[0],
                "shift": name,
                **_judged(found, judged_on, promise),
                "mean_cost": float(risks[inverse].mean()),
            }


def bars(rows: list[dict[str, Any]]) -> Iterator[Bar]:
    """Hold each certified row to its confidence, and to what chance adds to that."""
    error = 1 - CONFIDENCE
    for row in rows:
        limit = error + 1.96 * (error * CONFIDENCE / max(row["num_sets"], 1)) ** 0.5
        if row["rule"] not in ("accuracy kept on the set", "best in hindsight"):
            yield at_most(f"{_title(row)}: share of sets that break it", row["broken"], limit)


def saving_bars(common: list[dict[str, Any]], per_exit: list[dict[str, Any]]) -> Iterator[Bar]:
    """Hold thresholds per exit, with temperatures, to what one for all saves by the same bound."""
    for row in per_exit:
        limit = 0.5 if row["promise"] == "max-mean-ms" else row["limit"]
        promise = Promise(kind=row["promise"], limit=limit, confidence=CONFIDENCE)
        bound = default_bound(promise, row["num_images"])
        keys = ("world", "promise", "limit", "num_images")
        same = next(
            each
            for each in common
            if all(each[key] == row[key] for key in keys) and each["rule"] == bound
        )
        more = row["saved"] / same["saved"] - 1 if same["saved"] else 0.0
        yield at_least(f"{_title(row)}: more time saved than by one for all", more, SAVING_LIMIT)


def _title(row: dict[str, Any]) -> str:
    return (
        f"{row['world']}, {row['promise']} {row['limit']:g}, {row['num_images']} images, "
        f"{row['rule']}"
    )


if __name__ == "__main__":
    main()
