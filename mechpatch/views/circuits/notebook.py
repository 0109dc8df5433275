"""The same views as objects of CircuitsVis, for a notebook; none of them asks for a network.

logit_lens(load(run_dir, pair_id))
"""

import secrets
from pathlib import Path

from circuitsvis.utils.render import RenderedHTML
from markupsafe import Markup

from mechpatch.errors import SpecError
from mechpatch.storage.inspections import Inspection, read_inspections
from mechpatch.views.circuits import panels
from mechpatch.views.circuits.embed import STYLE, bundle, element, render_call
from mechpatch.views.circuits.view import View
from mechpatch.views.html import render


def load(run_dir: Path, pair_id: str) -> Inspection:
    """The inspection of one pair. Raises `SpecError` if it was not inspected."""
    found = {str(each.about["pair_id"]): each for each in read_inspections(Path(run_dir)).values()}
    if pair_id not in found:
        raise SpecError(
            f"{run_dir}: pair {pair_id!r} is not inspected; inspected are {', '.join(map(repr, found)) or 'none'}. "
            "Run mechpatch inspect for it"
        )
    return found[pair_id]


class OfflineHTML(RenderedHTML):
    """A CircuitsVis object that carries its script and asks no server whether there is a network."""

    def __init__(self, html: str) -> None:
        super().__init__(local_src=html, cdn_src=html)

    def _repr_html_(self) -> str:
        return self.local_src


def show(view: View) -> RenderedHTML:
    """A view as the last value of a notebook's cell."""
    element_id = f"circuits-{secrets.token_hex(6)}"
    values = {"style": STYLE, "element": Markup(element(view, element_id)), "bundle": bundle()}
    call = render_call(view, element_id)
    return OfflineHTML(render("mechpatch.views.circuits", "notebook.html", **values, call=call))


def effect_tokens(inspection: Inspection) -> RenderedHTML:
    """The tokens coloured by how far a patch there moves the answer."""
    return show(panels.effect_tokens(inspection))


def answer_tokens(inspection: Inspection) -> RenderedHTML:
    """The tokens of both answers coloured by their log-probability in the clean, corrupted and patched run."""
    return show(panels.answer_tokens(inspection))


def logit_lens(inspection: Inspection, run: str = "patched") -> RenderedHTML:
    """What every layer would say at every site, in the clean, corrupted or patched run."""
    return show(panels.logit_lens(inspection, run))


def answer_attention(inspection: Inspection) -> RenderedHTML:
    """What the position that predicts the answer attends to, by layer and head."""
    return show(panels.answer_attention(inspection))


def thought_attention(inspection: Inspection, run: str = "clean") -> RenderedHTML:
    """Attention among thoughts and what follows, one pattern for each head."""
    return show(panels.thought_attention(inspection, run))


def head_attention(inspection: Inspection, layer: int, run: str = "clean") -> RenderedHTML:
    """Attention of one layer over all tokens, one pattern for each head."""
    return show(panels.head_attention(inspection, layer, run))


def activations(inspection: Inspection) -> RenderedHTML:
    """What the residual stream holds at every token, by layer and quantity."""
    return show(panels.activations(inspection))
