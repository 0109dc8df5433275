"""The command line: parse, build a spec, call, print; a module for each command.

Everything heavy is imported when a command needs it.
"""

from mechpatch.cli import accuracy as accuracy
from mechpatch.cli import cache as cache
from mechpatch.cli import check as check
from mechpatch.cli import compare as compare
from mechpatch.cli import demo as demo
from mechpatch.cli import guide as guide
from mechpatch.cli import inspect as inspect
from mechpatch.cli import make_pairs as make_pairs
from mechpatch.cli import pairs as pairs
from mechpatch.cli import plan as plan
from mechpatch.cli import plot as plot
from mechpatch.cli import read as read
from mechpatch.cli import report as report
from mechpatch.cli import reproduce as reproduce
from mechpatch.cli import run as run
from mechpatch.cli import verify as verify
from mechpatch.cli.app import app as app
from mechpatch.cli.app import main as main
