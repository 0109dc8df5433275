"""Token layouts of latent, text and placeholder thoughts, and the names of their sites."""

from mechpatch.thoughts.latent import latent_layout as latent_layout
from mechpatch.thoughts.layout import Layout as Layout
from mechpatch.thoughts.layout import Tail as Tail
from mechpatch.thoughts.placeholder import placeholder_layout as placeholder_layout
from mechpatch.thoughts.sites import select_sites as select_sites
from mechpatch.thoughts.sites import thought_sites as thought_sites
from mechpatch.thoughts.text import text_layout as text_layout
