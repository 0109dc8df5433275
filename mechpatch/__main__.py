"""`python -m mechpatch` is the command `mechpatch`."""

from mechpatch.cli import main

main()
