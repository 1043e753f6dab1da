"""`Membership`: a listener's part in a consumer group: its partitions, and what it commits.

librdkafka's consumer belongs to the listener's thread: while one thread polls it, calls from
another would block for ever. So that thread calls all methods but `acknowledge` and `stop`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from .client import Servers
from .offsets import NONE, Committable, Offsets, Partition, PartitionProgress

WAIT_S = 0.1
"""Maximum duration of one wait for acknowledgements, in s."""
RELEASE_WAIT_S = 5.0
ANSWER_WAIT_S = 1.0
"""How long to wait for the servers to tell an offset, in s."""
LOOK_AGAIN_S = 10.0
"""How long not to ask again why offsets are missing, after it was not for retention."""
NO_EPOCH = -1
"""librdkafka's value for an unknown leader epoch."""

_log = logging.getLogger(__name__)


class Membership:
    """Takes partitions from the group, gives them back, and commits what is finished.

    `release_wait_s`: how long one that goes to another member waits for what is in flight, in s.
    """

    def __init__(
        self, servers: Servers, group: str, *, release_wait_s: float = RELEASE_WAIT_S
    ) -> None:
        self.offsets = Offsets()
        self.acknowledged: list[tuple[str, int, int]] = []
        """Tokens of finished messages that are not noted in `offsets`."""
        self.is_stopping = False
        self.expired = 0
        """Messages that the servers deleted before this group had read them."""
        self._servers = servers
        self._group = group
        self._release_wait_s = release_wait_s
        self._consumer: Any = None
        self._epochs: dict[Partition, int] = {}
        self._look_again_s = 0.0
        self._commits = True
        """Whether the last commit was confirmed."""
        self._changed = threading.Condition()

    def join(self, consumer: Any, topics: Sequence[str]) -> None:
        """Subscribe a consumer as a member of the group."""
        self._consumer = consumer
        consumer.subscribe(
            list(topics), on_assign=self._take, on_revoke=self._release, on_lost=self._note_lost
        )

    # From any thread

    def acknowledge(self, tokens: Sequence[tuple[str, int, int]]) -> None:
        """Take the tokens of finished messages, for `note_acknowledged`."""
        with self._changed:
            self.acknowledged += tokens
            self._changed.notify_all()

    def stop(self) -> None:
        """End a wait for acknowledgements."""
        with self._changed:
            self.is_stopping = True
            self._changed.notify_all()

    # Commits

    def note_acknowledged(self) -> None:
        """Have everything committed that was acknowledged."""
        if self.acknowledged:
            with self._changed:
                tokens, self.acknowledged = self.acknowledged, []
            self.store(self.offsets.acknowledge(tokens))

    def store(self, committable: Iterable[Committable]) -> None:
        """Give offsets to librdkafka, which commits them soon."""
        offsets = [confluent_kafka.TopicPartition(*each) for each in committable]
        if not offsets:
            return
        try:
            self._consumer.store_offsets(offsets=offsets)
        except KafkaException as error:
            # Another member has the partition by now, and reads it again.
            _log.debug("offsets of partitions that are no longer ours: %s", error)

    def note_committed(self, error: KafkaError | None, partitions: list[Any]) -> None:
        """Take the outcome of a commit, from poll()."""
        errors = [error, *(each.error for each in partitions)]
        found = next((each for each in errors if each is not None), None)
        if found is not None and self._commits and not self._servers.is_away:
            _log.warning(
                "%s; until then finished messages can't be committed, and come again if this stage "
                "is restarted before",
                self._servers.explain(found),
            )
        self._commits = found is None
        for each in partitions if error is None else ():
            if each.error is None and each.offset >= 0:
                self.offsets.note_committed((each.topic, each.partition), each.offset)

    def look_at_gap(self, progress: PartitionProgress, offset: int) -> None:
        """Accept an offset that is not the next one; count what retention has deleted before it."""
        expected, (topic, partition) = progress.expected, progress.place
        if offset < expected or expected == NONE:
            progress.begin(offset)
            return
        if time.monotonic() < self._look_again_s:
            return
        place = confluent_kafka.TopicPartition(topic, partition)
        try:
            oldest, _ = self._consumer.get_watermark_offsets(place, timeout=ANSWER_WAIT_S)
        except KafkaException:
            return
        if oldest <= expected:  # a compacted topic, or marks of transactions: there are many
            self._look_again_s = time.monotonic() + LOOK_AGAIN_S
        else:
            lost = min(oldest, offset) - expected
            self.expired += lost
            _log.warning(
                "%d messages of %s[%d] are lost: the servers deleted them (retention) before the "
                "group %r had read them",
                lost,
                topic,
                partition,
                self._group,
            )

    # Partitions; called from poll()

    def _take(self, consumer: Any, partitions: list[Any]) -> None:
        """Read partitions from the group's offsets, or behind what the chain has in flight."""
        _log.info("reading %s", _names(partitions))
        self._servers.note_answer()
        committed = self._committed(consumer, partitions)
        begin = []
        for place in _places(partitions):
            offset = self.offsets.assign(place, committed.get(place, NONE))
            epoch = self._epochs.get(place, NO_EPOCH) if offset != NONE else NO_EPOCH
            begin.append(confluent_kafka.TopicPartition(*place, offset, leader_epoch=epoch))
        consumer.incremental_assign(begin)
        self.store(self.offsets.committable())

    def _committed(self, consumer: Any, partitions: list[Any]) -> dict[Partition, int]:
        """Return the group's offsets, as far as they are known."""
        try:
            found = consumer.committed(partitions, timeout=ANSWER_WAIT_S)
        except KafkaException as error:
            _log.debug("the group's offsets aren't known now: %s", error)
            return {}
        return {(each.topic, each.partition): each.offset for each in found if each.error is None}

    def _release(self, consumer: Any, partitions: list[Any]) -> None:
        """Give partitions back, when what is in flight is finished or has had its time."""
        places = _places(partitions)
        give_up_s = time.monotonic() + self._release_wait_s
        while not (idle := self.offsets.are_idle(places)) and time.monotonic() < give_up_s:
            with self._changed:
                self._changed.wait_for(lambda: self.acknowledged or self.is_stopping, WAIT_S)
            self.note_acknowledged()
            if self.is_stopping:
                break
        self._let_go(consumer, partitions)
        if not idle:
            _log.warning(
                "%s went to another member of the group before all of it was finished; what was in "
                "flight comes there again",
                _names(partitions),
            )

    def _note_lost(self, consumer: Any, partitions: list[Any]) -> None:
        self._let_go(consumer, partitions)
        _log.warning(
            "the group has taken %s away, since this stage was silent for too long; the member "
            "that gets it reads again what was not committed",
            _names(partitions),
        )

    def _let_go(self, consumer: Any, partitions: list[Any]) -> None:
        """Note where these partitions are left, and in which leader epoch.

        With the epoch, librdkafka notices if the servers have lost what was read there.
        """
        places = _places(partitions)
        self._epochs |= dict.fromkeys(places, NO_EPOCH)
        with suppress(KafkaException):
            for each in consumer.position(partitions):
                place = each.topic, each.partition
                is_next = each.offset == self.offsets[place].expected
                if is_next and each.leader_epoch is not None:
                    self._epochs[place] = each.leader_epoch
        self.offsets.release(places)


def _places(partitions: Iterable[Any]) -> list[Partition]:
    return [(each.topic, each.partition) for each in partitions]


def _names(partitions: Iterable[Any]) -> str:
    return ", ".join(f"{each.topic}[{each.partition}]" for each in partitions) or "nothing"
