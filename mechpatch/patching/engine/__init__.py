"""Every patch of a batch in a few passes: the plain hooks' numbers, many times faster."""

from mechpatch.patching.engine.base import BaseRun as BaseRun
from mechpatch.patching.engine.base import empty_base as empty_base
from mechpatch.patching.engine.chunks import bytes_of_logits as bytes_of_logits
from mechpatch.patching.engine.chunks import bytes_of_rows as bytes_of_rows
from mechpatch.patching.engine.chunks import chunking as chunking
from mechpatch.patching.engine.runs import MEMORY as MEMORY
from mechpatch.patching.engine.runs import base_run as base_run
from mechpatch.patching.engine.runs import relay as relay
from mechpatch.patching.engine.runs import sweep as sweep
from mechpatch.patching.engine.runs import together as together
from mechpatch.patching.engine.saying import speaking as speaking
