"""Names of sites, as the command line takes them: `thoughts`, `bot`, `eot`, `answer`, `t2`, `all`."""

from collections.abc import Sequence

from mechpatch.errors import ThoughtError
from mechpatch.thoughts.layout import THOUGHTS


def select_sites(names: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
    """The sites that `names` ask for, in the order of the sequence and without repeats.

    Args:
        names: site names, `thoughts` for t0 … t{K-1}, `all` for everything there is.
        available: the sites of a layout, see `Layout.sites`.

    Raises:
        ThoughtError: a name is not a site of this layout.
    """
    wanted: set[str] = set()
    for name in names:
        if name == "all":
            wanted.update(available)
        elif name == THOUGHTS:
            wanted.update(thought_sites(available))
        elif name in available:
            wanted.add(name)
        else:
            raise ThoughtError(f"no site {name!r} here; expected {THOUGHTS}, all, or some of {', '.join(available)}")
    return tuple(site for site in available if site in wanted)


def thought_sites(available: Sequence[str]) -> tuple[str, ...]:
    """The thought positions among the sites: t0, t1, …"""
    return tuple(site for site in available if site[0] == "t" and site[1:].isdecimal())
