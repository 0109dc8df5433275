"""What can be read in the thoughts of unpatched runs: by a lens, by probes, and in what attends to what.

    pairs, model -> Recorded (unpatched runs of all pairs, both sides) -> one table for each kind of reading

Laws: nothing is patched here; a reading is a table of its own, one row for each pair, side, place and target; what is
drawn for its controls is drawn by name, as donors are. That something can be read is no sign that it is used.
"""

from mechpatch.readings.attention import read_attention as read_attention
from mechpatch.readings.lens import read_lens as read_lens
from mechpatch.readings.probes import read_probes as read_probes
from mechpatch.readings.record import Recorded as Recorded
from mechpatch.readings.targets import Target as Target
from mechpatch.readings.tuned import TunedLens as TunedLens
from mechpatch.readings.tuned import fit_lens as fit_lens
from mechpatch.readings.tuned import load_lens as load_lens
