"""One self-contained page from run directories: it opens from a file, offline, and needs no run to be understood.

    run directories -> studies (joined records) -> payload (arrays, JSON) -> page (HTML, scripts and data inlined)

Laws: records in, never a model; every text of a user is escaped; the page asks nothing of any network. Means of the
default views, their intervals and q are those of `mechpatch.stats`; the page itself computes only what a reader picks
out (a split by a field), by the same definitions, from the values of the pairs that it carries.
"""

from mechpatch.views.report.page import write_report as write_report
