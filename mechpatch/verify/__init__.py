"""Every law of patching, tried on a user's own model and two of their pairs, and the likely cause of one that fails."""

from mechpatch.verify.choice import make_context as make_context
from mechpatch.verify.report import LAWS as LAWS
from mechpatch.verify.report import Report as Report
from mechpatch.verify.report import verify as verify
from mechpatch.verify.source import read_source as read_source
