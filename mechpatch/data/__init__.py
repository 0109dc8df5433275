"""What is shipped: small models by name, each in a folder with its files, its card and its own pairs."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

DEMO = "demo"  # the name that stands where no model is named
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """One model, and what to load it with.

    Attributes:
        option: option that would take its checkpoint, without hyphens; its folder has that name.
        family: what `--family` would say, where the files do not tell.
    """

    name: str
    option: str
    n_latents: int
    lora_alpha: float | None = None
    family: str | None = None

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return HERE / self.name

    @property
    def base(self) -> Path:
        """Directory with its configuration and tokenizer."""
        return self.folder / "base"

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint, which is put on the base."""
        return self.folder / self.option

    @property
    def pairs(self) -> Path:
        """Its own pairs."""
        return self.folder / "pairs.json"


ROWS = (
    Shipped(name=DEMO, option="codi", n_latents=5, lora_alpha=64.0),
    Shipped(name="demo-coconut", option="coconut", n_latents=4),
    Shipped(name="demo-pause", option="coconut", n_latents=4, family="pause"),
    Shipped(name="demo-names", option="coconut", n_latents=3),
)
SHIPPED = {row.name: row for row in ROWS}
DEMO_FOLDER = SHIPPED[DEMO].folder


def pairs_for(model: str | Path) -> str:
    """Name of the pairs that are run where none are named: those of a shipped model, or of the demo."""
    return str(model) if str(model) in SHIPPED else DEMO


def pair_path(name: str) -> Path:
    """The pairs of a shipped model by its name; anything else is a file."""
    return SHIPPED[name].pairs if name in SHIPPED else Path(name)


def meant(name: str | Path) -> str:
    """What to add where nothing has this name: the shipped model that is called nearly so, if there is one."""
    near = get_close_matches(str(name).lower(), SHIPPED, n=1)
    return f". Did you mean {near[0]}?" if near else ""
