"""Which part of the data does a client train on, and which is it measured on?

Options of ``reefl-edge finetune`` that stand in for a federation on one machine: all clients cut
the same data the same way, each takes its own part.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli.options import refuse, usage_errors

if TYPE_CHECKING:
    from reefl_edge.data.clients.part import Sharing
    from reefl_edge.data.dataset import Dataset

_PANEL = "One client's part"

Client = Annotated[
    int | None,
    typer.Option(
        "--client",
        min=0,
        help="Train on the part of this client, counted from 0.",
        rich_help_panel=_PANEL,
    ),
]
NumClients = Annotated[
    int | None,
    typer.Option(
        "--num-clients",
        min=1,
        help="How many clients share the data; with --natural, those with the most examples.",
        rich_help_panel=_PANEL,
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        help="Label skew of the clients (Dirichlet): 0.1 is strong, 1000 nearly none.",
        rich_help_panel=_PANEL,
    ),
]
Natural = Annotated[
    bool,
    typer.Option(
        "--natural", help="A client is a writer or a speaker of the data.", rich_help_panel=_PANEL
    ),
]
EvalOwn = Annotated[
    bool,
    typer.Option(
        "--eval-own",
        help="Of --eval-data too, take the client's own part.",
        rich_help_panel=_PANEL,
    ),
]
EvalShare = Annotated[
    float | None,
    typer.Option(
        "--eval-share",
        help="Instead of --eval-data: keep this share of each class out of training, and measure "
        "on it.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What the options say; ``check`` first.

    Attributes:
        index: The client, 0-based; None for all of the data.
        num_clients: How many there are.
        alpha: Label skew.
        is_natural: Clients are writers or speakers.
        is_eval_own: The client's part of the evaluation data is wanted.
        eval_share: Share of each class kept out of training.
    """

    index: int | None
    num_clients: int | None
    alpha: float | None
    is_natural: bool
    is_eval_own: bool
    eval_share: float | None

    def check(self, eval_data: Path | None) -> None:
        """Refuse options that contradict each other.

        Raises:
            BadParameter: They do, or a number is out of range.
        """
        self._check_numbers()
        needs_client = {
            "--num-clients": self.num_clients is not None,
            "--alpha": self.alpha is not None,
            "--natural": self.is_natural,
            "--eval-own": self.is_eval_own,
        }
        given = [option for option, is_given in needs_client.items() if is_given]
        if self.index is None and given:
            refuse(given[0], "say which client with --client")
        if self.index is not None and self.is_natural == (self.alpha is not None):
            refuse(
                "--client",
                "say how clients share the data: --num-clients and --alpha, or --natural",
            )
        if self.alpha is not None and self.num_clients is None:
            refuse("--alpha", "say how many clients there are with --num-clients")
        if self.is_eval_own and eval_data is None:
            refuse("--eval-own", "it needs --eval-data")
        if self.eval_share is not None and eval_data is not None:
            refuse("--eval-share", "it stands instead of --eval-data; give one of them")

    def _check_numbers(self) -> None:
        from reefl_edge.data.clients.partition import check_alpha, check_share

        if self.alpha is not None:
            with usage_errors("--alpha"):
                check_alpha(self.alpha)
        if self.eval_share is not None:
            with usage_errors("--eval-share"):
                check_share(self.eval_share)

    def sharing(self) -> "Sharing":
        """Return how the clients share the data."""
        from reefl_edge.data.clients.part import Sharing

        return Sharing(num_clients=self.num_clients, alpha=self.alpha)


def choose(
    options: ClientOptions, dataset: "Dataset", eval_dataset: "Dataset | None"
) -> "tuple[Dataset, Dataset | None]":
    """Return what to train on and what to measure on.

    Args:
        options: What the options say.
        dataset: All training examples, of all clients.
        eval_dataset: The held-out examples, of all clients, if there are any.

    Raises:
        BadParameter: There is no such client, or a number is out of range.
        InputError: The data does not say who made each example.
    """
    from reefl_edge.data.clients.part import hold_out

    if options.index is not None:
        own_eval = [eval_dataset] if eval_dataset is not None and options.is_eval_own else []
        with usage_errors("--num-clients"):
            partition = options.sharing().partition(dataset, *own_eval)
        with usage_errors("--client"):
            dataset, *own_eval = partition.of_client(options.index)
        eval_dataset = own_eval[0] if own_eval else eval_dataset
    if options.eval_share is not None:
        with usage_errors("--eval-share"):
            dataset, eval_dataset = hold_out(dataset, options.eval_share)
    return dataset, eval_dataset
