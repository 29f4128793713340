"""What happened in federations that never were."""

import math

from reefl_edge.federation.history import ClientRound, Evaluation, RoundRecord
from reefl_edge.federation.report import FederationReport
from tests.fakes.devices import HOST
from tests.fakes.submodels import tiny_submodel


def round_record(
    server_round: int, *, num_exits: int = 2, num_clients: int = 4, late: bool = False
) -> RoundRecord:
    """Return a round in which deeper exits are better, and everything better than before."""
    progress = 1 - math.exp(-server_round / 5)
    clients = tuple(
        ClientRound(
            client=f"client-{index + num_clients * (server_round % 2)}",
            max_exit=index % num_exits,
            num_examples=10 + index,
            loss=(1 + index % num_exits) * (2.2 - progress - 0.1 * (index % num_exits)),
            problem="no reply within 3 s" if late and index == 0 else None,
            device_s=1.5 + index,
        )
        for index in range(num_clients if server_round else 0)
    )
    return RoundRecord(
        server_round=server_round,
        num_attempts=min(server_round, 1),
        clients=clients,
        bytes_down=4096 * len(clients),
        bytes_up=2048 * len(clients),
        duration_s=0.5 * bool(server_round),
        evaluation=Evaluation(
            accuracy=tuple(0.1 + progress * (0.5 + 0.1 * each) for each in range(num_exits)),
            losses=tuple(2.3 - progress * (1 + 0.1 * each) for each in range(num_exits)),
        ),
    )


def federation_report(
    *, num_rounds: int = 3, num_exits: int = 2, num_clients: int = 4
) -> FederationReport:
    """Return the report of a federation; in its second round one client is late."""
    return FederationReport(
        settings={"model": "digits.safetensors", "num-rounds": num_rounds, "alpha": 0.5},
        submodel=tiny_submodel(num_exits=num_exits),
        measured_at="2026-01-31T12:00:00+00:00",
        host=HOST,
        rounds=tuple(
            round_record(each, num_exits=num_exits, num_clients=num_clients, late=each == 2)
            for each in range(num_rounds + 1)
        ),
    )
