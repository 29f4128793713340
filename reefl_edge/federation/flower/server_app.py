"""What is the ``ServerApp``: how does Flower's run configuration become a federation that runs?"""

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
from reefl_edge.federation.server import Participant
from reefl_edge.federation.settings import read_settings

# What the trained model is called, in the output folder.
MODEL_NAME = "model.safetensors"

app = ServerApp()


@app.main()
@told()
def main(grid: Grid, context: Context) -> None:
    """Run a federation."""
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
    strategy = SubmodelFedAvg(federation, there, route, _say)
    strategy.start(grid)
    write_checkpoint(federation.server.checkpoint, Path(settings.output) / MODEL_NAME)


def _say(record: RoundRecord) -> None:
    accuracy = () if record.evaluation is None else record.evaluation.accuracy
    print(record.server_round, *(f"{each:.3f}" for each in accuracy), flush=True)
