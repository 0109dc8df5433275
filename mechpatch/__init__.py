"""Causal analysis of chain-of-thought: which layer at which thought position carries the answer.

Importing this costs nothing. Take what you need from `mechpatch.models`, `mechpatch.thoughts`, `mechpatch.patching`,
`mechpatch.metrics` and `mechpatch.experiments`.
"""
