"""Every law of patching, tried on a user's own model and two of their pairs, and the likely cause of one that fails."""

from mechpatch.verify.choice import make_context as make_context
from mechpatch.verify.findings import LAWS as LAWS
from mechpatch.verify.findings import Findings as Findings
from mechpatch.verify.findings import verify as verify
from mechpatch.verify.source import read_source as read_source
