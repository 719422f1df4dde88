"""Each message of a topic goes to the queues whose filters take it."""

import json
import os

import boto3

url = os.environ["AWS_ENDPOINT_URL"]
sqs, sns = boto3.client("sqs", endpoint_url=url), boto3.client("sns", endpoint_url=url)

topic = sns.create_topic(Name="python-orders")["TopicArn"]
queues = {}
for name, policy in {"python-billing": {}, "python-express": {"delivery": ["express"]}}.items():
    queues[name] = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queues[name], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps(policy)},
    )
for order, delivery in {"order 1": "post", "order 2": "express"}.items():
    sns.publish(
        TopicArn=topic,
        Message=order,
        MessageAttributes={"delivery": {"DataType": "String", "StringValue": delivery}},
    )
for name, left in {"python-billing": 2, "python-express": 1}.items():
    while left > 0:
        got = sqs.receive_message(QueueUrl=queues[name], MaxNumberOfMessages=10, WaitTimeSeconds=20)
        for m in got.get("Messages", []):
            print(name, "has", m["Body"])
            sqs.delete_message(QueueUrl=queues[name], ReceiptHandle=m["ReceiptHandle"])
            left -= 1
