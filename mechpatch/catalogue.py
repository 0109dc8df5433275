"""What donors, directions and measured columns are called, here and nowhere else."""

from dataclasses import dataclass

DIRECTIONS = {"denoise": "clean vectors into the corrupted run", "noise": "corrupted vectors into the clean run"}
PAIRED = "paired"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class DonorWords:
    """Whose vectors are written, in words.

    Attributes:
        label: as it stands within a sentence.
        role: "effect", what is asked; "law", what must move nothing; "control", what a finding must exceed; "ablation",
            an effect of its own that takes something away; "variation", nothing is written and the run itself differs.
        made: its vectors are those of no question, nor their mean.
    """

    label: str
    role: str
    made: bool = False


DONORS = {
    PAIRED: DonorWords(label="the pair's other side", role="effect"),
    "self": DonorWords(label="the run's own vectors", role="law"),
    "other_pair": DonorWords(label="vectors of another pair", role="control"),
    "same_value": DonorWords(label="a donor with an equal answer", role="control"),
    "gaussian": DonorWords(label="Gaussian vectors", role="control", made=True),
    "zero": DonorWords(label="the zero vector", role="ablation", made=True),
    "mean": DonorWords(label="the mean over all pairs", role="ablation"),
    "other_value": DonorWords(label="thoughts of a question with another answer", role="effect"),
    "same_step": DonorWords(label="thoughts of a question with an equal step", role="control"),
    NOTHING: DonorWords(label="nothing", role="variation", made=True),
}
NULLS = tuple(name for name in DONORS if name not in (PAIRED, "other_value", "same_step", NOTHING))

# What a hit of a lens or probe must exceed.
READING_CONTROLS = {
    "other_question": "the same value in another question's run",
    "shuffled_values": "another question's value",
    "twin": "the twin model, where it is right, too",
}


def from_question(donor: str) -> bool:
    """Whether a donor's vectors are those that some question has, or their mean; not known of the user's own."""
    return donor in DONORS and not DONORS[donor].made


def direction_label(direction: str) -> str:
    """What a direction writes, in words; its own name where nobody described it."""
    return DIRECTIONS.get(direction, direction)


def donor_label(donor: str) -> str:
    """Whose vectors are written, or what a hit is held against, in words; its own name where nobody described it."""
    return DONORS[donor].label if donor in DONORS else READING_CONTROLS.get(donor, donor)


def role_of(donor: str) -> str:
    """What a donor is for; one that somebody else made is a control."""
    return DONORS[donor].role if donor in DONORS else "control"


def is_null(donor: str) -> bool:
    """Whether a donor should move nothing, so that an effect is held against it."""
    return role_of(donor) in ("law", "control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number that is measured: what it is called and how it is written.

    Attributes:
        label: as it stands within a sentence.
        unit: "" where it has none.
        signed: zero is neutral and both signs mean something.
        format: how one cell's value is written, as Python formats it.
        smallest_limit: colour scales and axes reach at least this far, so that noise cannot fill them.
        stored: whether it is a column of the records; the others are made of several columns.
        unpatched: whether the unpatched runs have it too; it is stored beside each patched value.
    """

    label: str
    unit: str = ""
    signed: bool = False
    format: str = ".2f"
    smallest_limit: float = 0.0
    stored: bool = True
    unpatched: bool = False

    @property
    def axis(self) -> str:
        """Label and unit, to stand alone."""
        label = self.label[:1].upper() + self.label[1:]
        return f"{label} ({self.unit})" if self.unit else label


MEASURES = {
    "effect": Measure(label="effect", unit="share of gap", signed=True, smallest_limit=0.1, stored=False),
    "destruction": Measure(label="destruction", unit="share of gap", signed=True, smallest_limit=0.1, stored=False),
    "answer_logprob_change": Measure(
        label="change of answer log-probability difference", unit="nats", signed=True, format=".1f", stored=False
    ),
    "switched": Measure(label="pairs that switch", unit="share of pairs", smallest_limit=0.1, stored=False),
    "neither": Measure(label="pairs with neither answer", unit="share of pairs", smallest_limit=0.1, stored=False),
    "kept": Measure(label="pairs that keep their answer", unit="share of pairs", smallest_limit=0.1, stored=False),
    "followed": Measure(
        label="pairs with the expected answer", unit="share of pairs", smallest_limit=0.1, stored=False
    ),
    "kl_divergence": Measure(label="KL divergence from baseline", unit="nats", smallest_limit=0.01),
    "l2_logit_difference": Measure(label="L2 distance of logits", unit="logits", format=".1f"),
    "rms_logit_difference": Measure(label="RMS difference of logits", unit="logits"),
    "prediction_change_rate": Measure(label="changed predictions", unit="share of positions", smallest_limit=0.1),
    "answer_logit_diff": Measure(
        label="answer logit difference", unit="logits", signed=True, format=".1f", unpatched=True
    ),
    "clean_score": Measure(label="logit of the clean answer", unit="logits", signed=True, format=".1f", unpatched=True),
    "corrupted_score": Measure(
        label="logit of the corrupted answer", unit="logits", signed=True, format=".1f", unpatched=True
    ),
    "answer_logprob_diff": Measure(
        label="answer log-probability difference", unit="nats", signed=True, format=".1f", unpatched=True
    ),
    "divergent_logit_diff": Measure(
        label="logit difference at the diverging token", unit="logits", signed=True, format=".1f", unpatched=True
    ),
    "expected_logprob": Measure(label="log-probability of the expected answer", unit="nats", signed=True, format=".1f"),
    "expected_logprob_change": Measure(
        label="change of the expected answer's log-probability", unit="nats", signed=True, format=".1f"
    ),
    "recovery": Measure(label="recovery", unit="share of gap", signed=True, smallest_limit=0.1),
    "similarity_clean": Measure(label="similarity to clean", unit="cosine", signed=True),
    "similarity_corrupted": Measure(label="similarity to corrupted", unit="cosine", signed=True),
    "bias": Measure(label="bias towards clean", unit="difference of cosines", signed=True),
}
STORED = tuple(name for name, measure in MEASURES.items() if measure.stored)  # in the order of the columns
UNPATCHED = tuple(name for name, measure in MEASURES.items() if measure.unpatched)


def measure_of(name: str) -> Measure:
    """What is measured under that name; a column that nobody described is drawn as signed, under its own name."""
    return MEASURES.get(name) or Measure(label=name, signed=True)
