"""What is the ``ServerApp``: how does Flower's run configuration become a federation that runs?"""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from reefl_edge.checkpoints.checkpoint import write_checkpoint
from reefl_edge.federation.assembly import (
    federation_of,
    read_model,
    simulated_participants,
    start_of,
)
from reefl_edge.federation.flower.exchange import Route, SimulationRoute
from reefl_edge.federation.flower.failures import told
from reefl_edge.federation.flower.roster import Roster
from reefl_edge.federation.flower.strategy import SubmodelFedAvg
from reefl_edge.federation.history import RoundRecord
from reefl_edge.federation.report import (
    MODEL_NAME,
    REPORT_NAME,
    report_of,
    write_federation_report,
)
from reefl_edge.federation.rules import Participant
from reefl_edge.federation.settings import read_settings
from reefl_edge.federation.telemetry import Telemetry, round_line

app = ServerApp()


@app.main()
@told()
def main(grid: Grid, context: Context) -> None:
    """Run a federation."""
    _show_log()
    settings = read_settings(dict(context.run_config))
    start = start_of(settings, read_model(Path(settings.model)))
    federation = federation_of(settings, start)
    there: Callable[[], Sequence[Participant]]
    route: Route
    if settings.is_simulation:
        there = simulated_participants(settings, start.submodel).copy
        route = SimulationRoute(grid.get_node_ids)
    else:
        roster = Roster(grid, settings, start.submodel)
        there, route = roster.participants, roster
    output = Path(settings.output)
    telemetry = Telemetry(output)

    def on_round(record: RoundRecord) -> None:
        telemetry.on_round(record)
        print(round_line(record, num_rounds=settings.num_rounds), flush=True)

    SubmodelFedAvg(federation, there, route, on_round).start(grid)
    telemetry.close()
    write_checkpoint(federation.server.checkpoint, output / MODEL_NAME)
    report = report_of(settings, start.submodel, telemetry.rounds)
    write_federation_report(report, output / REPORT_NAME)


def _show_log() -> None:
    """Say who takes part and who is left out, to whoever reads what the run prints."""
    logger = logging.getLogger("reefl_edge.federation")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler(sys.stdout))
        logger.setLevel(logging.INFO)
