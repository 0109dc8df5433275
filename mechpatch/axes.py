"""The legend of axis names, and the array types that several packages share.

pair       one clean / corrupted pair of questions
answer     0: the continuation with the clean answer, 1: with the corrupted one
row        (pair answer), flattened
position   token position in a padded batch; in logits: answer positions, the last of which follows the answer
site       a named place in the sequence: bot, t0 … t{K-1}, eot, answer
layer      block of the model; `resid_post` of block 0 is layer 0
vector     what is at one place: (d_model), (head, d_head), or as `points` says
prompt, tail   tokens before the first and after the last latent thought
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, "pair answer position vocab"]
SiteVectors = Float[Tensor, "pair answer layer site *vector"]
LatentHead = Callable[[Float[Tensor, "pair d_model"]], Float[Tensor, "pair d_model"]]
