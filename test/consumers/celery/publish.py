"""Publishes the tasks 0 to N-1 and prints how many."""

import sys

from app import app, record

count = int(sys.argv[1])
with app.producer_or_acquire() as producer:
    for n in range(count):
        record.apply_async((n,), producer=producer)
print(count)
