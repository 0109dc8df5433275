"""Pairs of questions that differ in one thing: what they are, how they are read and which of them are usable."""

from mechpatch.pairs.answers import answer_text as answer_text
from mechpatch.pairs.faults import Fault as Fault
from mechpatch.pairs.faults import PairFileError as PairFileError
from mechpatch.pairs.load import load_pairs as load_pairs
from mechpatch.pairs.load import pairs_from as pairs_from
from mechpatch.pairs.load import to_prepared as to_prepared
from mechpatch.pairs.schema import Pair as Pair
from mechpatch.pairs.schema import Side as Side
from mechpatch.pairs.screen import Dropped as Dropped
from mechpatch.pairs.screen import Finding as Finding
from mechpatch.pairs.screen import Predicate as Predicate
from mechpatch.pairs.screen import Screening as Screening
from mechpatch.pairs.screen import default_predicates as default_predicates
from mechpatch.pairs.screen import describe as describe
from mechpatch.pairs.screen import flag_only as flag_only
from mechpatch.pairs.screen import has_odd_blanks as has_odd_blanks
from mechpatch.pairs.screen import identical_questions as identical_questions
from mechpatch.pairs.screen import odd_blanks as odd_blanks
from mechpatch.pairs.screen import same_answer as same_answer
from mechpatch.pairs.screen import screen as screen
from mechpatch.pairs.screen import unequal_length as unequal_length
from mechpatch.pairs.screen import unequal_steps as unequal_steps
from mechpatch.values import Value as Value
from mechpatch.values import answer_value as answer_value
