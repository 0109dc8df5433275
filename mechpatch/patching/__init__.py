"""Hooks on activations, the rollouts, and the plain reference of every experiment."""

from mechpatch.patching.batch import Batch as Batch
from mechpatch.patching.batch import collate as collate
from mechpatch.patching.edit import Edit as Edit
from mechpatch.patching.hooks import Hook as Hook
from mechpatch.patching.hooks import capture as capture
from mechpatch.patching.hooks import chain as chain
from mechpatch.patching.hooks import edit_position as edit_position
from mechpatch.patching.hooks import edit_positions as edit_positions
from mechpatch.patching.hooks import patch_position as patch_position
from mechpatch.patching.hooks import patch_positions as patch_positions
from mechpatch.patching.passes import is_last_pass as is_last_pass
from mechpatch.patching.rollout import Outcome as Outcome
from mechpatch.patching.rollout import Read as Read
from mechpatch.patching.rollout import Write as Write
from mechpatch.patching.rollout import rollout as rollout
