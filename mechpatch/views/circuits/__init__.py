"""CircuitsVis views of an inspected pair: data for a page that opens offline, and objects for a notebook.

views = inspection_views(run_dir)          pair id -> views; a page needs `bundle()` and `STYLE` once, and for
                                           each view `element(view, id)` and, after it, `render_call(view, id)`
logit_lens(load(run_dir, pair_id))         one view in a notebook
"""

from mechpatch.views.circuits.embed import STYLE as STYLE
from mechpatch.views.circuits.embed import bundle as bundle
from mechpatch.views.circuits.embed import element as element
from mechpatch.views.circuits.embed import render_call as render_call
from mechpatch.views.circuits.notebook import activations as activations
from mechpatch.views.circuits.notebook import answer_attention as answer_attention
from mechpatch.views.circuits.notebook import answer_tokens as answer_tokens
from mechpatch.views.circuits.notebook import effect_tokens as effect_tokens
from mechpatch.views.circuits.notebook import head_attention as head_attention
from mechpatch.views.circuits.notebook import load as load
from mechpatch.views.circuits.notebook import logit_lens as logit_lens
from mechpatch.views.circuits.notebook import show as show
from mechpatch.views.circuits.notebook import thought_attention as thought_attention
from mechpatch.views.circuits.panels import inspection_views as inspection_views
from mechpatch.views.circuits.view import View as View
