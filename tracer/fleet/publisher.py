"""A spool of recordings -> messages: in order, each once, at a bounded rate; what is missing of the spool is a message,
too.

Before a message is sent, what it has is written to the disk. So after a kill the same rows are sent with the same id,
though the batches of the file may have been merged meanwhile.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from tracer.errors import NstraceError
from tracer.fleet.channel import Answer, AskLast, Channel, Done, Gone, No, Order, Ready, Store, Trouble
from tracer.fleet.envelope import Origin, passed_on, sealed
from tracer.fleet.names import ALIVE, EVENTS
from tracer.fleet.place import Place, PlaceFile, Planned
from tracer.fleet.sink import Message
from tracer.fleet.spool import Known, Piece, Pieces, Spool, Start
from tracer.stream.batch import EVENT, Batch
from tracer.stream.schema import NO_CPU, Kind

ALIVE_S = 30.0
"""So often a publisher says that it lives."""
_LOOK_S, _LIST_S, _NOTE_S = 0.1, 1.0, 1.0
_ROOM_BYTES = 4096  # for subject and headers
_LEAST_BYTES = 1 << 14  # of a message with one row
_SESSION = re.compile("[0-9a-f]{1,64}")


@dataclass(frozen=True)
class Whose:
    """The host that publishes."""

    cluster: str
    host: str


class Alive(msgspec.Struct, frozen=True):
    """What a publisher says of itself. messages, rows, lost: since it was started; until_ns: up to when it has
    published (wall clock), 0: nothing yet; files_behind: how many finished files wait; every_s: it says so again
    then."""

    host: str
    boot: str
    run: str
    sequence: int
    messages: int
    rows: int
    losses: int
    until_ns: int
    files_behind: int
    every_s: float


class Server:
    """Orders to the process that speaks to the server. say: writes a line for people."""

    def __init__(self, channel: Channel, say: Callable[[str], None]) -> None:
        self._channel, self._say = channel, say

    def limit(self) -> int:
        """How many bytes the payload of a message may have; waits for the server. Raises NstraceError."""
        while True:
            answer = self._hear()
            if isinstance(answer, Ready):
                return answer.limit - _ROOM_BYTES
            if isinstance(answer, No):
                raise NstraceError(answer.why, "check the address, the credentials and the certificates")

    def last(self) -> dict[str, str] | None:
        """The headers of this host's latest batch in the server. Raises NstraceError."""
        answer = self._ask(AskLast())
        return answer.headers if isinstance(answer, Done) else None

    def store(self, message: Message, is_again: bool = False) -> No | None:
        """Returns when it is stored; `No` where it never will be. Raises NstraceError."""
        answer = self._ask(Store(message, is_again))
        return answer if isinstance(answer, No) else None

    def _ask(self, order: Order) -> Answer:
        try:
            self._channel.say(order)
        except Gone as error:
            raise _ended() from error
        while isinstance(answer := self._hear(), Ready):
            pass
        return answer

    def _hear(self) -> Answer:
        while True:
            try:
                answer = self._channel.hear()
            except Gone as error:
                raise _ended() from error
            if not isinstance(answer, Trouble):
                return answer
            self._say(f"waiting: {answer.why}" if answer.why else "the server takes messages again")


def _ended() -> NstraceError:
    return NstraceError("the process that speaks to the server has ended", "was it killed? start nstrace again")


class Publisher:
    """Publishes a spool. say: writes a line for people. rate: how many bytes a second at the most; None: as many as
    there are. note: receives what it says of itself, about once a second. Tests give the clock, and what sleeps."""

    def __init__(
        self,
        spool: Spool,
        places: PlaceFile,
        server: Server,
        whose: Whose,
        *,
        rate: int | None = None,
        say: Callable[[str], None] = lambda _line: None,
        note: Callable[[Alive], None] = lambda _alive: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spool, self._places, self._server, self._whose = spool, places, server, whose
        self._rate, self._say, self._note, self._clock, self._sleep = rate, say, note, clock, sleep
        self._place = places.place
        self._pieces: Pieces | None = None
        self._is_written = True  # the place is on the disk as it is here
        self._limit = 0
        self._messages = self._rows = self._losses = self._behind = 0
        self._alive_at = self._noted_at = self._listed_at = self._free_at = float("-inf")

    def run(self, keep_going: Callable[[], bool]) -> None:
        """Publish until keep_going() is false. Raises NstraceError."""
        self._limit = self._server.limit()
        self._recall()
        while keep_going():
            if not self.step():
                self._sleep(_LOOK_S)

    def step(self) -> bool:
        """Publish one message, or go on to the next file. False: there is nothing to do now."""
        self._limit = self._limit or self._server.limit()
        if self._clock() - self._alive_at >= ALIVE_S:
            self._say_alive()
        if self._clock() - self._noted_at >= _NOTE_S:
            self._noted_at = self._clock()
            self._note(self._alive())
        if self._place is not None and self._place.planned is not None:
            self._resend(self._place, self._place.planned)
            return True
        if self._pieces is None:
            return self._open()
        piece = self._pieces.peek()
        if piece is not None:
            self._publish(piece)
            return True
        self._write_place()
        return self._go_on()

    def _recall(self) -> None:
        """Without a place of our own: what the server has of this host says where to go on."""
        if self._place is not None or (said := self._server.last()) is None:
            return
        try:
            run, (sequence, part, row) = said["Nstrace-Run"], [int(said[f"Nstrace-{name}"]) for name in _NUMBERS]
        except (KeyError, ValueError):
            return
        session = run.partition("-")[0]
        began_ns = min((known.began_ns for known in self._spool.listed() if known.session == session), default=0)
        self._set(Place(session, run, part, row, True, sequence, 0, began_ns, {}))
        self._say(f"going on behind message {sequence} of {run}, the latest that the server has of this host")

    # Which file is read

    def _open(self) -> bool:
        """Open the file that comes next. False: it is not there yet."""
        place = self._place
        if self._clock() - self._listed_at < _LIST_S:
            return False
        self._listed_at = self._clock()
        listed = [known for known in self._spool.listed() if _SESSION.fullmatch(known.session)]
        if place is None:
            if listed:
                self._switch(listed[0])
            return bool(listed)
        self._behind = sum(_is_after(known, place) for known in listed)
        here = next((known for known in listed if (known.session, known.part) == (place.session, place.part)), None)
        if here is not None:
            return self._begin(here)
        later = [known for known in listed if _is_after(known, place)]
        if not later:
            return False
        if _is_all(place, later[0], listed):
            self._switch(later[0])
        else:
            self._plan_loss(place, later[0])
        return True

    def _begin(self, known: Known) -> bool:
        place = self._place
        assert place is not None
        start = Start(place.session, place.part, place.row, place.with_carried)
        tail = self._spool.opened(known, start)
        if tail is None:
            return False
        self._pieces = Pieces(tail)
        metadata = passed_on(tail.metadata)
        self._set(msgspec.structs.replace(place, metadata=metadata, began_ns=known.began_ns))
        self._listed_at = float("-inf")
        return True

    def _go_on(self) -> bool:
        """Leave the file that is read if it is over: it was closed, or a later one is there. False: neither is."""
        assert self._pieces is not None and self._place is not None
        place, is_over = self._place, self._pieces.tail.is_over
        if not is_over:
            if self._clock() - self._listed_at < _LIST_S:
                return False
            self._listed_at = self._clock()
            if not any(_is_after(known, place) for known in self._spool.listed()):
                return False
            if self._pieces.peek() is not None:  # it was written before the later file was begun
                return True
        self._pieces, self._listed_at = None, float("-inf")
        self._set(msgspec.structs.replace(place, part=place.part + 1, row=0, with_carried=not is_over))
        return True

    def _switch(self, known: Known) -> None:
        """Go on with a file that does not follow on the one before."""
        self._pieces, self._listed_at = None, float("-inf")
        self._set(_at(known, self._place))
        self._write_place()

    # What is sent

    def _publish(self, piece: Piece) -> None:
        """Send the rows of a piece, or as many of them as a message has room for."""
        assert self._pieces is not None and self._place is not None
        place, end_row, batch = self._place, piece.end_row, piece.batch
        while (payload := self._sealed(place, piece.first_row, end_row, batch)) is None:
            batch = batch.part(0, len(batch) // 2)
            end_row = piece.first_row + len(batch)
        planned = Planned(place.sequence + 1, place.part, piece.first_row, end_row)
        self._set(msgspec.structs.replace(place, planned=planned))
        self._write_place()
        self._send(payload, planned)

    def _sealed(self, place: Place, first_row: int, end_row: int, rows: Batch) -> bytes | None:
        """The payload with these rows; None: it is larger than a message may be. In place of a row that alone is too
        large stands a gap."""
        assert self._pieces is not None
        origin = self._origin(place, place.sequence + 1, place.part, first_row, end_row)
        facts = self._pieces.tail.facts.needed_by(rows)
        payload = sealed(origin, place.metadata, facts, rows)
        if len(payload) <= self._limit:
            return payload
        if len(rows) > 1:
            return None
        at_ns = int(rows.rows["ts_ns"][0])
        return sealed(origin, place.metadata, Batch.concat([]), _gap(at_ns, at_ns, 1))

    def _origin(self, place: Place, sequence: int, part: int, first_row: int, end_row: int) -> Origin:
        boot = place.metadata.get("boot_id", "")
        return Origin(self._whose.cluster, self._whose.host, boot, place.run, sequence, part, first_row, end_row)

    def _resend(self, place: Place, planned: Planned) -> None:
        """Send what was planned before a kill, the same rows with the same id."""
        if planned.is_loss:
            self._send(self._sealed_loss(place, planned), planned, is_again=True)
        elif self._pieces is None and not self._find(place, planned):
            self._sleep(_LOOK_S)
        elif self._pieces is not None and self._place is not None:
            piece = self._pieces.take(planned.end_row)
            payload = self._sealed(self._place, planned.first_row, planned.end_row, piece.batch) if piece else None
            if payload is None or piece is None or piece.first_row != planned.first_row:
                rows = f"rows {planned.first_row} to {planned.end_row} of part {planned.part} are not as they were"
                raise NstraceError(rows, "a state file without its recordings? remove it to publish all that is there")
            self._send(payload, planned, is_again=True, taken=piece)

    def _find(self, place: Place, planned: Planned) -> bool:
        """Open the file of what was planned. Where it is gone, and the server has not stored the message, what was
        planned counts as lost. False: the file may be there soon."""
        listed = self._spool.listed()
        for known in listed:
            if (known.session, known.part) == (place.session, place.part):
                return self._begin(known)
        later = [known for known in listed if _is_after(known, place)]
        last = self._server.last()
        if last is not None and last.get("Nats-Msg-Id") == self._origin_of(place, planned).id:
            stored = {"row": planned.end_row, "sequence": planned.sequence, "planned": None}
            self._set(msgspec.structs.replace(place, **stored))
            return True
        if later:
            self._plan_loss(place, later[0])
        return bool(later)

    def _sealed_loss(self, place: Place, planned: Planned) -> bytes:
        rows = _gap(planned.since_ns, planned.until_ns, 0)
        return sealed(self._origin_of(place, planned), place.metadata, Batch.concat([]), rows)

    def _origin_of(self, place: Place, planned: Planned) -> Origin:
        return self._origin(place, planned.sequence, planned.part, planned.first_row, planned.end_row)

    def _send(self, payload: bytes, planned: Planned, is_again: bool = False, taken: Piece | None = None) -> None:
        """Send a message that is planned, and go on behind it. taken: its rows, where they were taken already."""
        place = self._place
        assert place is not None
        self._wait_for_room(len(payload))
        origin = self._origin_of(place, planned)
        refused = self._server.store(Message(EVENTS, origin.id, origin.headers(), payload), is_again)
        if refused is not None:
            self._make_smaller(place, len(payload), refused)
            return
        self._messages += 1
        if self._messages == 1:
            self._alive_at = float("-inf")  # so that it is known at once up to when it has published
        if planned.is_loss:
            self._after_loss(place, planned)
            return
        self._rows += planned.end_row - planned.first_row
        assert self._pieces is not None
        piece = taken or self._pieces.take(planned.end_row)
        assert piece is not None
        self._pieces.tail.facts.learn(piece.batch)
        last_ns = max(place.last_ns, int(piece.batch.rows["ts_ns"].max()))
        done = {"row": planned.end_row, "sequence": planned.sequence, "last_ns": last_ns, "planned": None}
        self._set(msgspec.structs.replace(place, **done))

    def _make_smaller(self, place: Place, length: int, refused: No) -> None:
        """The server takes no message of this length: it is not stored, so it may be cut in another way."""
        self._limit = min(refused.limit - _ROOM_BYTES, length - 1)
        if self._limit < _LEAST_BYTES:
            hint = "raise its max_payload" if refused.limit else "check the credentials, and what they permit"
            raise NstraceError(f"the server refuses a message of {length} bytes: {refused.why}", hint)
        self._pieces = None
        self._set(msgspec.structs.replace(place, planned=None))
        self._write_place()

    def _wait_for_room(self, length: int) -> None:
        """Keep the rate: what was sent in the last second counts."""
        if self._rate is None:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now - 1.0)
        if self._free_at > now:
            self._sleep(self._free_at - now)
        self._free_at += length / self._rate

    # What is missing

    def _plan_loss(self, place: Place, known: Known) -> None:
        """Say that what was between the place and this file is gone from the spool."""
        if not place.metadata:
            place = msgspec.structs.replace(place, metadata=dict(known.metadata))
        until_ns = max(place.last_ns, known.began_ns - int(place.metadata["wall_offset_ns"]))
        planned = Planned(place.sequence + 1, place.part, place.row, place.row, place.last_ns, until_ns, is_loss=True)
        self._set(msgspec.structs.replace(place, planned=planned))
        self._write_place()

    def _after_loss(self, place: Place, planned: Planned) -> None:
        """A loss was said: go on with what is there."""
        self._losses += 1
        self._set(msgspec.structs.replace(place, sequence=planned.sequence, planned=None))
        later = [known for known in self._spool.listed() if _is_after(known, place)]
        if later:
            self._switch(later[0])

    # What is remembered, and what is said of it

    def _set(self, place: Place) -> None:
        self._place, self._is_written = place, False

    def _write_place(self) -> None:
        if not self._is_written and self._place is not None:
            self._places.write(self._place)
            self._is_written = True

    def _alive(self) -> Alive:
        place = self._place
        boot, run, sequence, until_ns = "", "", 0, 0
        if place is not None:
            boot, run, sequence = place.metadata.get("boot_id", ""), place.run, place.sequence
            until_ns = place.last_ns + int(place.metadata.get("wall_offset_ns", 0)) if place.last_ns else 0
        return Alive(
            self._whose.host, boot, run, sequence, self._messages, self._rows, self._losses, until_ns, self._behind,
            ALIVE_S,
        )  # fmt: skip

    def _say_alive(self) -> None:
        self._alive_at = self._clock()
        self._server.store(Message(ALIVE, secrets.token_hex(16), {}, msgspec.json.encode(self._alive())))


_NUMBERS = ("Sequence", "Part", "End-Row")


def _is_after(known: Known, place: Place) -> bool:
    """Whether a file comes after the one of the place."""
    if known.session == place.session:
        return known.part > place.part
    return known.began_ns > place.began_ns


def _is_all(place: Place, known: Known, listed: list[Known]) -> bool:
    """Whether nothing is missing between the place and this file of another run: the run of the place has ended with
    the file before, which is still there; the oldest files are dropped first."""
    before = any((one.session, one.part) == (place.session, place.part - 1) for one in listed)
    return known.session != place.session and place.row == 0 and before


def _at(known: Known, before: Place | None) -> Place:
    """The place at the beginning of a file that does not follow on the one before."""
    if before is not None and before.session == known.session:
        return msgspec.structs.replace(
            before, part=known.part, row=0, with_carried=True, began_ns=known.began_ns, planned=None
        )
    run = f"{known.session}-{secrets.token_hex(4)}"
    return Place(known.session, run, known.part, 0, True, 0, 0, known.began_ns, {})


def _gap(since_ns: int, until_ns: int, lost: int) -> Batch:
    """The row in place of what is missing. lost: how many events; 0: that is not known."""
    row = np.zeros(1, EVENT)
    row["kind"], row["cpu"], row["seq"] = Kind.GAP, NO_CPU, lost
    row["start_ns"], row["ts_ns"] = since_ns, max(since_ns, until_ns)
    return Batch(row)
