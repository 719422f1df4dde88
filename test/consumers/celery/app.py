"""A Celery application as one that runs against SQS, with its broker moved."""

import os

from celery import Celery

app = Celery("app", broker=os.environ["BROKER_URL"])
app.conf.update(
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "wait_time_seconds": 2,
        "polling_interval": 0.2,
        "visibility_timeout": int(os.environ["VISIBILITY_TIMEOUT"]),
    },
    task_default_queue="tasks",
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    worker_enable_remote_control=False,
)


@app.task(bind=True, max_retries=3)
def record(self, n):
    """Appends n to the journal; every fiftieth task fails at first and is retried."""
    if n % 50 == 0 and self.request.retries == 0:
        raise self.retry(countdown=0)
    with open(os.environ["JOURNAL"], "a", encoding="ascii") as journal:
        journal.write(f"{n}\n")
