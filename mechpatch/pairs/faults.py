"""What is wrong with a file of pairs: faults, the place each was found at, and the one error that carries them all."""

from dataclasses import dataclass, field

from mechpatch.errors import PairError
from mechpatch.pairs.answers import shown

FAULTS_PRINTED = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a file.

    `index` is "item 3" (counted from 0) in a JSON list and "line 3" (from 1) in JSON Lines. What is unknown is None,
    and so is what a fault of the whole file does not have.
    """

    file: str
    index: str | None
    pair_id: str | None
    field: str | None
    problem: str

    def __str__(self) -> str:
        place = [
            self.index or "",
            "" if self.pair_id is None else f"pair {shown(self.pair_id)}",
            "" if self.field is None else f"field {shown(self.field)}",
        ]
        return ": ".join(filter(None, [", ".join(filter(None, place)), self.problem]))


class PairFileError(PairError):
    """A file of pairs cannot be used. `faults` holds them all; the text lists the first `FAULTS_PRINTED`."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        file, lines = self.faults[0].file, [str(each) for each in self.faults[:FAULTS_PRINTED]]
        if len(self.faults) == 1:
            return f"{file}: {lines[0]}"
        if len(self.faults) > FAULTS_PRINTED:
            lines.append(f"and {len(self.faults) - FAULTS_PRINTED} more")
        return "\n  ".join([f"{file}: {len(self.faults)} faults, nothing was loaded:", *lines])


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading one file has found so far. `questions` maps two questions to the first pair that has both."""

    file: str
    faults: list[Fault] = field(default_factory=list)
    questions: dict[frozenset[str], str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `PairFileError` where there is a fault."""
        if self.faults:
            raise PairFileError(tuple(self.faults))


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a file a value stands. `side` is "clean" or "corrupted" inside a prepared pair."""

    reading: Reading
    index: str | None = None
    pair_id: str | None = None
    side: str | None = None

    def fault(self, name: str | None, problem: str) -> None:
        """Reading `problem` with the member `name` of the value here, or (None) with the value itself."""
        full = ".".join(each for each in (self.side, name) if each is not None) or None
        self.reading.faults.append(Fault(self.reading.file, self.index, self.pair_id, full, problem))
