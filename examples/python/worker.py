"""A queue worker: a job that fails comes again, and goes to the dead-letter queue after
three tries. The endpoint and the keys are in the AWS_ variables."""

import json
import os

import boto3

sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def handle(job):
    if job == "resize nothing":
        raise ValueError("there is no picture")
    print("done:", job)


dead = sqs.create_queue(QueueName="python-jobs-dead")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
jobs = sqs.create_queue(
    QueueName="python-jobs",
    Attributes={
        "VisibilityTimeout": "1",  # longer than a job takes
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3}),
    },
)["QueueUrl"]
for body in ["resize cat.jpg", "resize dog.jpg", "resize nothing"]:
    sqs.send_message(QueueUrl=jobs, MessageBody=body)

# A real worker goes on for ever; this one until the queue has been empty for 5 seconds.
while messages := sqs.receive_message(QueueUrl=jobs, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages"):
    for m in messages:
        try:
            handle(m["Body"])
        except ValueError as e:
            print("failed:", e)
            continue
        sqs.delete_message(QueueUrl=jobs, ReceiptHandle=m["ReceiptHandle"])

for m in sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=10).get("Messages", []):
    print("given up:", m["Body"])
