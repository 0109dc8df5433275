"""Loading: Hugging Face models, LoRA and CODI checkpoints, as one `HookedTransformer` that shares their weights."""

from mechpatch.models.load import ThoughtModel as ThoughtModel
from mechpatch.models.load import load_model as load_model
from mechpatch.models.load import load_source as load_source
