"""What does the server of a federation hold, and what is one round of it?

The server holds the arrays that the regime trains, as deep as the model. In a round it draws
clients, sends each the arrays of its own depth, and takes the replies one by one, through the guard
into the average; at the end it makes the arrays of the next round out of that. Clients that answer
late, or not at all, or are refused, are left out and named. Where too few are left, the round
counts for nothing and is repeated with others.

How many updates there are at a time is the exchange's matter: each is added as it comes, and gone.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256, frozen_sha256
from reefl_edge.checkpoints.update import still_random
from reefl_edge.errors import FederationError, RefusedUpdateError
from reefl_edge.federation.average import Average, RunningAverage
from reefl_edge.federation.depths import missing_exits
from reefl_edge.federation.exchange import Exchange
from reefl_edge.federation.guard import Expected, Guard
from reefl_edge.federation.history import ClientRound, RoundRecord
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.federation.optimizer import ServerOptimizer
from reefl_edge.federation.privacy import Privacy, PrivateAverage, clipped, draw
from reefl_edge.federation.rules import Participant, RoundRules
from reefl_edge.federation.seeds import client_seed, hidden_generator, round_generator
from reefl_edge.federation.state_file import FederationState
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Submodel

_FLOAT_BYTES = 4

_log = logging.getLogger(__name__)


class Server:
    """Holds the model of a federation, and makes it better round by round.

    Args:
        start: The whole model under the regime, adapters and all.
        rules: What makes a round.
        training: What clients are to do; round and seed are set for each of them.
        optimizer: What is made of an average.
        guard: What updates are held to.
        clip_norm: How far an update may move the arrays, all taken as one vector, before it is
            shortened to that; None for as far as it likes.
        privacy: How much of a client may show; None where nothing is hidden. It clips by itself.
        secret: Under privacy, what clients and noise are drawn by; None for chance. What hides a
            client holds only as long as clients do not know it.

    Attributes:
        arrays: The trained arrays, by name.
        num_rounds: How many rounds made them.
    """

    def __init__(
        self,
        start: Checkpoint,
        rules: RoundRules,
        training: LocalTraining,
        *,
        optimizer: ServerOptimizer,
        guard: Guard,
        clip_norm: float | None = None,
        privacy: Privacy | None = None,
        secret: int | None = None,
    ) -> None:
        self.rules = rules
        self.optimizer = optimizer
        self.guard = guard
        self.training = training
        self.arrays: Arrays = {
            spec.name: start.arrays[spec.name] for spec in start.submodel.trained_arrays()
        }
        self.num_rounds = 0
        self.clip_norm = clip_norm
        self.privacy = privacy
        self.refusals: dict[str, str] = {}
        self._start = start
        self._frozen: dict[int, str] = {}
        self._missing = range(0)
        self._secret = secret

    @property
    def submodel(self) -> Submodel:
        """The whole model."""
        return self._start.submodel

    @property
    def checkpoint(self) -> Checkpoint:
        """The whole model as it is now."""
        start = self._start
        random = still_random(start, start.submodel) if self.num_rounds else start.random
        return replace(start, arrays={**start.arrays, **self.arrays}, random=random)

    def state(self) -> FederationState:
        """Return what a server that goes on after it was stopped must know."""
        return FederationState(
            server_round=self.num_rounds,
            model=self.arrays,
            optimizer=self.optimizer.state(),
            guard=self.guard.state(),
        )

    def load(self, state: FederationState) -> None:
        """Go on from a state of the same federation."""
        self.num_rounds = state.server_round
        self.arrays = state.model
        self.optimizer.load(state.optimizer)
        self.guard.load(state.guard)

    def run_round(
        self,
        server_round: int,
        participants: Callable[[], Sequence[Participant]],
        exchange: Exchange,
    ) -> RoundRecord:
        """Make the model of the next round, by as many attempts as it takes.

        Args:
            server_round: The round, from 1.
            participants: Returns who can be asked now.
            exchange: What carries tasks and replies.

        Raises:
            FederationError: Every attempt had too few updates.
        """
        bytes_down = bytes_up = 0
        for attempt in range(1, self.rules.max_attempts + 1):
            opened = self.begin(server_round, participants(), attempt=attempt)
            for reply in exchange.exchange(opened.tasks(), self.rules.deadline_s):
                opened.take(reply)
            record = opened.end()
            bytes_down += record.bytes_down
            bytes_up += record.bytes_up
            if opened.counts:
                return replace(record, bytes_down=bytes_down, bytes_up=bytes_up)
        raise FederationError(
            f"round {server_round}: {opened.shortage()}, {self.rules.max_attempts} times over; the "
            "model of the round before stands"
        )

    def begin(
        self, server_round: int, participants: Sequence[Participant], *, attempt: int = 1
    ) -> "OpenRound":
        """Draw the clients of a round, which then waits for their replies."""
        self._warn_of_missing_exits(participants)
        generator = self._generator(server_round, attempt)
        indices = self._draw(len(participants), generator)
        drawn = [participants[index] for index in indices]
        average = self._average(participants, generator)
        return OpenRound(self, server_round, drawn, average, attempt)

    def _generator(self, server_round: int, attempt: int) -> np.random.Generator:
        """Return what clients are drawn with, and noise, in this attempt and no other.

        Nodes are told the seed: by it they would know who was drawn, and what the noise is.
        """
        if self.privacy is None:
            return round_generator(self.rules.seed, server_round, attempt)
        return hidden_generator(self._secret, server_round, attempt)

    def _draw(self, num_clients: int, generator: np.random.Generator) -> list[int]:
        if self.privacy is not None:
            return draw(num_clients, self.privacy.sampling_rate, generator)
        count = min(self.rules.clients_per_round, num_clients)
        if not count:
            return []
        indices: list[int] = generator.choice(num_clients, size=count, replace=False).tolist()
        return indices

    def _average(
        self, participants: Sequence[Participant], generator: np.random.Generator
    ) -> Average:
        if self.privacy is None:
            return RunningAverage(self.submodel)
        return PrivateAverage(
            self.submodel,
            start=self.arrays,
            privacy=self.privacy,
            num_clients=Counter(each.depth.max_exit for each in participants),
            generator=generator,
        )

    def _warn_of_missing_exits(self, participants: Sequence[Participant]) -> None:
        """Say, as often as it changes, which exits nobody is deep enough for."""
        missing = missing_exits([each.depth for each in participants], self.submodel)
        if missing != self._missing:
            self._missing = missing
            for exit_index in missing:
                _log.warning(
                    "nobody is deep enough for exit %d: its blocks stay as they are", exit_index
                )

    def frozen_sha256(self, max_exit: int) -> str:
        """Return the identity of what no round changes, cut at a depth."""
        if max_exit not in self._frozen:
            cut = self._start.cut(max_exit)
            self._frozen[max_exit] = frozen_sha256(cut.arrays, cut.submodel.regime)
        return self._frozen[max_exit]


class OpenRound:
    """A round that was begun: it gives out tasks and takes replies.

    Args:
        server: Whose round it is.
        server_round: The round, from 1.
        drawn: The clients that are asked.
        average: Takes their updates.
        attempt: How often the round was begun, this time included.
    """

    def __init__(
        self,
        server: Server,
        server_round: int,
        drawn: Sequence[Participant],
        average: Average,
        attempt: int,
    ) -> None:
        self._server = server
        self._round = server_round
        self._attempt = attempt
        self._drawn = {each.client: each for each in drawn}
        self._found: dict[str, ClientRound] = {}
        self._tasks: dict[int, _DepthTask] = {}
        self._start = server.arrays
        self._average = average
        server.guard.begin_round()
        self._num_counted = 0
        self._bytes_down = self._bytes_up = 0
        self._began = time.monotonic()

    @property
    def counts(self) -> bool:
        """Enough updates were averaged; where noise hides who took part, any number is enough."""
        is_enough = self._num_counted >= self._server.rules.min_clients
        return is_enough or self._server.privacy is not None

    def tasks(self) -> Iterator[ClientTask]:
        """Give what each client is asked, one after the other."""
        server = self._server
        for client, participant in self._drawn.items():
            depth = self._task_at(participant.depth.max_exit)
            self._bytes_down += _size_bytes(depth.arrays)
            yield ClientTask(
                client=client,
                submodel=depth.submodel,
                arrays=depth.arrays,
                training=replace(
                    server.training,
                    server_round=self._round,
                    seed=client_seed(server.rules.seed, self._round, client),
                ),
                frozen_sha256=server.frozen_sha256(participant.depth.max_exit),
                base_sha256=depth.base_sha256,
                refusal=server.refusals.pop(client, None),
            )

    def take(self, reply: ClientReply) -> None:
        """Count a reply, or say why not."""
        if reply.client not in self._drawn:
            _log.warning("round %d: %s replied, and was not asked", self._round, reply.client)
            return
        if reply.update is None:
            self._note(reply, problem=reply.problem)
            return
        self._bytes_up += _size_bytes(reply.update.arrays)
        participant = self._drawn[reply.client]
        depth = self._task_at(participant.depth.max_exit)
        expected = Expected(
            client=reply.client,
            submodel=depth.submodel,
            base_sha256=depth.base_sha256,
            server_round=self._round,
            start=depth.arrays,
            max_examples=participant.max_examples,
        )
        try:
            self._server.guard.check(reply.update, expected)
        except RefusedUpdateError as error:
            problem = str(error).removeprefix(f"{reply.client}: ")
            self._server.refusals[reply.client] = problem
            self._note(reply, problem=f"refused: {problem}")
            return
        update, clip_norm = reply.update, self._server.clip_norm
        if clip_norm is not None:
            update = clipped(update, depth.arrays, clip_norm)
        self._average.add(update, update.provenance.num_examples)
        self._num_counted += 1
        self._note(reply)

    def end(self) -> RoundRecord:
        """Take no more replies; where enough counted, the server has the next round's arrays."""
        deadline_s = self._server.rules.deadline_s
        waited = "" if deadline_s is None else f" within {deadline_s:g} s"
        for client in self._drawn.keys() - self._found.keys():
            self._found[client] = self._client_round(client, problem=f"no reply{waited}")
        clients = tuple(self._found[client] for client in self._drawn)
        for each in clients:
            if each.problem is not None:
                _log.warning("round %d: %s: %s", self._round, each.client, each.problem)
        if self.counts:
            average = self._average.average(self._start)
            self._server.arrays = self._server.optimizer.step(
                self._start, average, self._average.held()
            )
            self._server.num_rounds = self._round
        else:
            _log.warning("round %d: %s; it is repeated", self._round, self.shortage())
        return RoundRecord(
            server_round=self._round,
            num_attempts=self._attempt,
            clients=clients,
            bytes_down=self._bytes_down,
            bytes_up=self._bytes_up,
            duration_s=time.monotonic() - self._began,
        )

    def shortage(self) -> str:
        """Say how many updates there were of how many, and why a first one is missing."""
        missing = next((each for each in self._found.values() if each.problem is not None), None)
        why = "" if missing is None else f" ({missing.client}: {missing.problem})"
        return (
            f"{self._num_counted} of {len(self._drawn)} clients sent an update that counts{why}, "
            f"{self._server.rules.min_clients} are needed"
        )

    def _task_at(self, max_exit: int) -> "_DepthTask":
        if max_exit not in self._tasks:
            cut = self._server.checkpoint.cut(max_exit)
            self._tasks[max_exit] = _DepthTask(
                submodel=cut.submodel,
                arrays={spec.name: cut.arrays[spec.name] for spec in cut.submodel.trained_arrays()},
                base_sha256=base_sha256(cut.arrays),
            )
        return self._tasks[max_exit]

    def _note(self, reply: ClientReply, *, problem: str | None = None) -> None:
        update = reply.update
        if reply.client in self._found:  # what counted already still does
            _log.warning("round %d: %s: %s", self._round, reply.client, problem)
            return
        self._found[reply.client] = self._client_round(
            reply.client,
            num_examples=0 if update is None else update.provenance.num_examples,
            loss=sum(reply.losses) / len(reply.losses) if reply.losses else None,
            problem=problem,
        )

    def _client_round(
        self,
        client: str,
        *,
        num_examples: int = 0,
        loss: float | None = None,
        problem: str | None = None,
    ) -> ClientRound:
        depth = self._drawn[client].depth
        return ClientRound(
            client=client,
            max_exit=depth.max_exit,
            num_examples=num_examples,
            loss=loss,
            problem=problem,
            device_s=depth.device_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _DepthTask:
    """What all clients of a depth are asked in a round."""

    submodel: Submodel
    arrays: Arrays
    base_sha256: str


def _size_bytes(arrays: Arrays) -> int:
    return _FLOAT_BYTES * sum(array.size for array in arrays.values())
