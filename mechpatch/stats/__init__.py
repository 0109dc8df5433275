"""From records to numbers that can be trusted: intervals, tests, checks, one summary of a run."""

from mechpatch.stats.cell_values import CellSummary as CellSummary
from mechpatch.stats.cells import Cells as Cells
from mechpatch.stats.cells import groups as groups
from mechpatch.stats.cells import select as select
from mechpatch.stats.estimates import Interval as Interval
from mechpatch.stats.estimates import benjamini_hochberg as benjamini_hochberg
from mechpatch.stats.estimates import bootstrap_mean as bootstrap_mean
from mechpatch.stats.estimates import effect_size as effect_size
from mechpatch.stats.estimates import minimum_detectable_effect as minimum_detectable_effect
from mechpatch.stats.estimates import rank_correlation as rank_correlation
from mechpatch.stats.estimates import sign_flip_p as sign_flip_p
from mechpatch.stats.summary import summarise as summarise
from mechpatch.stats.summary import summarise_cells as summarise_cells
from mechpatch.stats.summary_file import read_summary as read_summary
from mechpatch.stats.summary_file import write_summary as write_summary
from mechpatch.stats.summary_values import RunFacts as RunFacts
from mechpatch.stats.summary_values import RunSummary as RunSummary
from mechpatch.stats.summary_values import Summary as Summary
