"""Makes the state machine of a replica that folds. PURE."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from arroyo.codec import Suspect
from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName
from arroyo.protocol.fold.fold import Fold
from arroyo.protocol.fold.output_run import OutputRun
from arroyo.protocol.fold.outputs import FoldOutputs
from arroyo.protocol.fold.pending_inputs import PendingInputs
from arroyo.protocol.fold.state import FoldState, OpenOutputs
from arroyo.protocol.source.input import MakeStop
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.loss_policy import Redeliver
from arroyo.protocol.source.recovery_policy import RecoveryPolicy
from arroyo.protocol.source.reliable_sender import ReliableSender
from arroyo.protocol.source.run_sequencer import RunSequencer
from arroyo.protocol.source.sender_context import SenderContext
from arroyo.protocol.values.history import History

from .topology import Surroundings

EPOCHS_OF_A_LIFE = 2**32
"""One life of a fold has fewer runs than this."""


def make_fold(
    chain: Chain,
    name: ReplicaName,
    *,
    incarnation: int,
    holds: bool,
    memory: FoldState,
    make_early_stop: Callable[[str], MakeStop],
    suspect: Suspect | None = None,
    history: History | None = None,
) -> Fold:
    """Make the state machine of a replica of an operator that folds.

    `holds`: whether inputs are held until an output covers them: see `Operator.max_inputs`.
    """
    around = Surroundings(chain, name, incarnation, history)
    # Receivers know by its epochs which life of a fold is the later one, though a clock steps back.
    first_epoch = max(memory.next_epoch, incarnation)
    outputs = _make_outputs(
        chain,
        around.sender_context(),
        memory.outputs,
        new_epoch=itertools.count(first_epoch).__next__,
        make_early_stop=make_early_stop,
    )
    paths, replicas = around.paths.count(name.stage), around.stage.replicas
    inputs = PendingInputs(name, incarnation, paths=paths, replicas=replicas, holds=holds)
    inputs.recall(memory.inputs)
    receiver = around.receiver(inputs.known, suspect, sticky=True)
    next_epoch = first_epoch + EPOCHS_OF_A_LIFE
    return Fold(receiver, inputs, outputs, around.outbox, next_epoch=next_epoch)


def _make_outputs(
    chain: Chain,
    context: SenderContext,
    former: Sequence[OpenOutputs],
    *,
    new_epoch: Callable[[], int],
    make_early_stop: Callable[[str], MakeStop],
) -> FoldOutputs:
    """Make the part that sends, as a source of each run."""

    def make_run(run: str, former: OpenOutputs | None) -> OutputRun:
        ledger = Ledger(context.terminals, former.finished if former else 0)
        sequencer = RunSequencer(
            context,
            ledger,
            epoch=new_epoch(),
            new_run=lambda: run,
            make_early_stop=make_early_stop,
            base=0,
        )
        return OutputRun(
            ReliableSender(context, sequencer, ledger, loss=Redeliver(), recovery=RecoveryPolicy()),
            former,
        )

    above = chain.sources_above(context.name.stage)
    listeners = {str(each) for stage in above for each in stage.names}
    return FoldOutputs(
        downstream=context.downstream, make_run=make_run, former=former, listeners=listeners
    )
