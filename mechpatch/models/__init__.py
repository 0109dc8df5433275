"""Loading: Hugging Face models, LoRA and CODI checkpoints, as one `HookedTransformer` that shares their weights."""

from mechpatch.models.load import load_model as load_model
from mechpatch.models.load import load_source as load_source
from mechpatch.models.thought_model import ThoughtModel as ThoughtModel
