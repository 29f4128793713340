"""What is it worth that clients of mixed depth train together?

    python -m benchmarks.federated_depths --model MODEL --data TRAIN --test-data TEST

One model, one partition, as many clients asked in a round, three federations: clients of all
depths by turns; only those that bear the deepest, the others left out; and everybody at the depth
that the weakest bears. Each with several seeds, by the rounds that a Flower simulation runs, whose
results are the same bit for bit, in this process. A run that the report already has is not made
again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from benchmarks.apparatus.documents import now
from benchmarks.apparatus.federations import draw, table_of
from reefl_edge import schema
from reefl_edge.devices.host import describe_host
from reefl_edge.federation.assembly import (
    federation_of,
    read_model,
    simulated_client,
    simulated_participants,
    start_of,
)
from reefl_edge.federation.depths import Tiers
from reefl_edge.federation.exchange import LocalExchange
from reefl_edge.federation.history import RoundRecord
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.files import write_text

RESULTS = Path("docs/results/federated.json")
FEDERATIONS: tuple[Tiers, ...] = ("round-robin", "only-deepest", "shallowest")


def main() -> None:
    """Run every federation with every seed, and keep what came of it."""
    arguments = _arguments()
    settings = FederationSettings(
        model=arguments.model,
        data=arguments.data,
        test_data=arguments.test_data,
        regime="lora",
        num_clients=20,
        clients_per_round=arguments.clients_per_round,
        alpha=0.1,
        batch_size=arguments.batch_size,
        num_rounds=arguments.num_rounds,
        evaluate_every=arguments.evaluate_every,
    )
    document = _kept(arguments.output, settings)
    for seed in arguments.seeds:
        for tiers in arguments.federations:
            run = {"tiers": tiers, "seed": seed}
            if not any(run.items() <= each.items() for each in document["runs"]):
                rounds = _rounds(replace(settings, tiers=tiers, seed=seed))
                document["runs"].append(run | {"rounds": rounds})
                write_text(arguments.output, json.dumps(document, indent=1) + "\n")
    draw(document["runs"], arguments.output.with_suffix(".png"))
    print(table_of(document["runs"]))
    print(f"saved {arguments.output}, and a picture beside it")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a checkpoint, with its pretrained backbone")
    parser.add_argument("--data", required=True, help="what clients share, with a split after #")
    parser.add_argument("--test-data", required=True, help="what the server evaluates on")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--num-rounds", type=int, default=24)
    parser.add_argument("--evaluate-every", type=int, default=4)
    parser.add_argument("--clients-per-round", type=int, default=4)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--federations", nargs="+", choices=get_args(Tiers), default=list(FEDERATIONS)
    )
    return parser.parse_args()


def _kept(path: Path, settings: FederationSettings) -> dict[str, Any]:
    """Return the report as far as it goes; another model or setting begins it anew."""
    said = schema.to_dict(settings)
    for key in ("model", "data", "test_data"):
        said[key] = Path(said[key]).name
    if path.is_file():
        document: dict[str, Any] = json.loads(path.read_text())
        if document["settings"] == said:
            return document
    return {
        "measured_at": now(),
        "host": schema.to_dict(describe_host()),
        "settings": said,
        "runs": [],
    }


def _rounds(settings: FederationSettings) -> list[dict[str, Any]]:
    """Run one federation; return what became of every round."""
    start = start_of(settings, read_model(Path(settings.model)))
    federation = replace(federation_of(settings, start), states=None)
    there = simulated_participants(settings, start.submodel)
    exchange = LocalExchange(simulated_client(settings, start))
    rounds: list[dict[str, Any]] = []

    def keep(record: RoundRecord) -> None:
        rounds.append(schema.to_dict(record))
        if record.evaluation is not None:
            shares = " ".join(f"{100 * each:.1f}" for each in record.evaluation.accuracy)
            print(f"{settings.tiers} {settings.seed}, round {record.server_round}: {shares} %")

    federation.run(lambda: there, exchange, keep)
    return rounds


if __name__ == "__main__":
    main()
