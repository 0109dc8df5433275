"""Published studies by name: what was published, the commands that measure the same, and what they have measured."""

from mechpatch.studies.study import Figure as Figure
from mechpatch.studies.study import Ours as Ours
from mechpatch.studies.study import Step as Step
from mechpatch.studies.study import Study as Study
from mechpatch.studies.study import studies as studies
