"""What `scripts/bench.py` is made of: questions, contenders, the limit, the journal and the table."""
