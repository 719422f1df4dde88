"""The messages of a group come in order, and duplicates are left out."""

import os

import boto3

sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
queue = sqs.create_queue(
    QueueName="python-accounts.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
)["QueueUrl"]
for step in ["open", "deposit", "close"]:
    for account in ["anna", "bert"]:
        for _ in range(2):  # the second is a duplicate and is not stored
            sqs.send_message(QueueUrl=queue, MessageBody=f"{step} {account}", MessageGroupId=account)
left = 6
while left > 0:
    got = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, AttributeNames=["MessageGroupId"])
    for m in got.get("Messages", []):
        print(m["Attributes"]["MessageGroupId"] + ":", m["Body"])
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=m["ReceiptHandle"])
        left -= 1
