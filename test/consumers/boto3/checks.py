"""What a Python program sees of SQS through boto3. MNQ_URL says where the
server is; botocore decides which protocol it speaks."""

import hashlib
import json
import os
import threading
import time
import unittest
import uuid
from urllib.request import Request, urlopen

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError


def client(**kwargs):
    config = Config(retries={"total_max_attempts": 1}, **kwargs)
    return boto3.client("sqs", endpoint_url=os.environ["MNQ_URL"], config=config)


sqs = client()
speaks_json = sqs.meta.service_model.metadata["protocol"] == "json"


class Case(unittest.TestCase):
    maxDiff = None

    def queue(self, name=None, **attributes):
        name = name or "q-" + uuid.uuid4().hex
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.addCleanup(self.delete, url)
        return url

    def delete(self, url):
        try:
            sqs.delete_queue(QueueUrl=url)
        except sqs.exceptions.QueueDoesNotExist:
            pass

    def receive(self, url, **kwargs):
        kwargs.setdefault("WaitTimeSeconds", 5)
        return sqs.receive_message(QueueUrl=url, **kwargs)

    def refused(self, code, call, shape=None, status=400, **kwargs):
        with self.assertRaises(ClientError) as caught:
            call(**kwargs)
        error = caught.exception
        self.assertEqual(error.response["Error"]["Code"], code, error)
        self.assertEqual(error.response["ResponseMetadata"]["HTTPStatusCode"], status)
        self.assertTrue(error.response["ResponseMetadata"]["RequestId"])
        if shape and speaks_json:
            self.assertEqual(error.response["Error"]["QueryErrorCode"], shape)
        return error


class Errors(Case):
    def test_a_missing_queue_raises_the_modelled_exception(self):
        url = self.queue() + "-missing"
        for call in (
            lambda: sqs.get_queue_url(QueueName="missing"),
            lambda: sqs.send_message(QueueUrl=url, MessageBody="x"),
            lambda: sqs.receive_message(QueueUrl=url),
            lambda: sqs.delete_queue(QueueUrl=url),
            lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]),
        ):
            with self.assertRaises(sqs.exceptions.QueueDoesNotExist) as caught:
                call()
            self.assertEqual(caught.exception.response["Error"]["Code"], "AWS.SimpleQueueService.NonExistentQueue")
            self.assertEqual(caught.exception.response["Error"].get("Type", "Sender"), "Sender")

    def test_a_queue_with_other_attributes_exists(self):
        url = self.queue(VisibilityTimeout="10")
        name = url.rsplit("/", 1)[1]
        self.assertEqual(sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "10"})["QueueUrl"], url)
        with self.assertRaises(sqs.exceptions.QueueNameExists):
            sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "11"})

    def test_attributes_are_checked(self):
        url = self.queue()
        with self.assertRaises(sqs.exceptions.InvalidAttributeName):
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Nonsense": "1"})
        with self.assertRaises(sqs.exceptions.InvalidAttributeName):
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Nonsense"])
        self.refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes={"VisibilityTimeout": "43201"})
        self.refused("InvalidParameterValue", sqs.create_queue, QueueName="no spaces")

    def test_receipt_handles_are_checked(self):
        url = self.queue()
        with self.assertRaises(sqs.exceptions.ReceiptHandleIsInvalid):
            sqs.delete_message(QueueUrl=url, ReceiptHandle="nonsense")
        self.refused("ReceiptHandleIsInvalid", sqs.change_message_visibility, status=404,
                     QueueUrl=url, ReceiptHandle="nonsense", VisibilityTimeout=1)
        sqs.send_message(QueueUrl=url, MessageBody="x")
        handle = self.receive(url)["Messages"][0]["ReceiptHandle"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)

    def test_bodies_and_ranges_are_checked(self):
        url = self.queue()
        with self.assertRaises(sqs.exceptions.InvalidMessageContents):
            sqs.send_message(QueueUrl=url, MessageBody="\x0b")
        self.refused("MissingParameter", sqs.send_message, QueueUrl=url, MessageBody="")
        self.refused("InvalidParameterValue", sqs.send_message, QueueUrl=url, MessageBody="x", DelaySeconds=901)
        self.refused("InvalidParameterValue", sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11)
        self.refused("InvalidParameterValue", sqs.receive_message, QueueUrl=url, WaitTimeSeconds=21)
        self.refused("InvalidParameterValue", sqs.send_message, QueueUrl=url, MessageBody="x" * (1 << 20) + "x")

    def test_whole_batches_are_refused(self):
        url = self.queue()
        send = lambda entries: lambda **kwargs: sqs.send_message_batch(QueueUrl=url, Entries=entries)  # noqa: E731
        entry = lambda n, body="x": {"Id": str(n), "MessageBody": body}  # noqa: E731
        prefix = "AWS.SimpleQueueService."
        for name, entries in (
            ("EmptyBatchRequest", []),
            ("TooManyEntriesInBatchRequest", [entry(n) for n in range(11)]),
            ("BatchEntryIdsNotDistinct", [entry(1), entry(1)]),
            ("InvalidBatchEntryId", [entry("a b")]),
            ("BatchRequestTooLong", [entry(n, "x" * 600_000) for n in range(2)]),
        ):
            with self.subTest(name):
                error = self.refused(prefix + name, send(entries), shape=name)
                self.assertIsInstance(error, getattr(sqs.exceptions, name))

    def test_wrong_keys_are_refused(self):
        def other(key, secret):
            return boto3.client("sqs", endpoint_url=os.environ["MNQ_URL"], aws_access_key_id=key, aws_secret_access_key=secret,
                                config=Config(retries={"total_max_attempts": 1}))

        self.refused("InvalidClientTokenId", other("somebody", "test").list_queues, status=403)
        self.refused("SignatureDoesNotMatch", other("test", "wrong").list_queues, status=403)


class Messages(Case):
    def test_an_empty_receive_has_no_messages_key(self):
        self.assertNotIn("Messages", self.receive(self.queue(), WaitTimeSeconds=0))

    def test_digests(self):
        url = self.queue()
        body = "grüße \u2603 <&>\r\n\ttext"
        sent = sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes={
            "text": {"DataType": "String", "StringValue": "été"},
            "blob": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
            "number": {"DataType": "Number.int", "StringValue": "42"},
        })
        self.assertEqual(sent["MD5OfMessageBody"], hashlib.md5(body.encode()).hexdigest())
        digest = hashlib.md5()
        for name, kind, mark, value in (
            ("blob", "Binary.png", b"\x02", b"\x00\xff"), ("number", "Number.int", b"\x01", b"42"), ("text", "String", b"\x01", "été".encode()),
        ):
            for part in (name.encode(), kind.encode()):
                digest.update(len(part).to_bytes(4, "big") + part)
            digest.update(mark + len(value).to_bytes(4, "big") + value)
        self.assertEqual(sent["MD5OfMessageAttributes"], digest.hexdigest())
        message = self.receive(url, MessageAttributeNames=["All"])["Messages"][0]
        self.assertEqual(message["Body"], body)
        self.assertEqual(message["MessageId"], sent["MessageId"])
        self.assertEqual(message["MD5OfBody"], sent["MD5OfMessageBody"])
        self.assertEqual(message["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(message["MessageAttributes"], {
            "text": {"DataType": "String", "StringValue": "été"},
            "blob": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
            "number": {"DataType": "Number.int", "StringValue": "42"},
        })

    def test_message_attributes_are_chosen_by_name_and_prefix(self):
        url = self.queue(VisibilityTimeout="0")
        names = ["a", "app.one", "app.two"]
        sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes={n: {"DataType": "String", "StringValue": n} for n in names})
        for ask, want in (([], None), (["a"], ["a"]), (["app.*"], names[1:]), (["All"], names), ([".*"], names), (["other"], None)):
            with self.subTest(ask=ask):
                message = self.receive(url, MessageAttributeNames=ask)["Messages"][0]
                self.assertEqual(sorted(message["MessageAttributes"]) if "MessageAttributes" in message else None, want)
                self.assertEqual("MD5OfMessageAttributes" in message, want is not None)

    def test_system_attributes(self):
        url = self.queue(VisibilityTimeout="0")
        before = int(time.time() * 1000) - 1000
        trace = "Root=1-67891233-abcdef012345678912345678"
        sqs.send_message(QueueUrl=url, MessageBody="x", MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}})
        self.assertNotIn("Attributes", self.receive(url)["Messages"][0])
        one = self.receive(url, AttributeNames=["ApproximateReceiveCount"])["Messages"][0]["Attributes"]
        self.assertEqual(one, {"ApproximateReceiveCount": "2"})
        every = self.receive(url, AttributeNames=["All"])["Messages"][0]["Attributes"]
        self.assertEqual(every["ApproximateReceiveCount"], "3")
        self.assertEqual(every["AWSTraceHeader"], trace)
        self.assertGreaterEqual(int(every["SentTimestamp"]), before)
        self.assertGreaterEqual(int(every["ApproximateFirstReceiveTimestamp"]), int(every["SentTimestamp"]))
        self.assertTrue(every["SenderId"])
        if "MessageSystemAttributeNames" in sqs.meta.service_model.operation_model("ReceiveMessage").input_shape.members:
            other = self.receive(url, MessageSystemAttributeNames=["SenderId"])["Messages"][0]["Attributes"]
            self.assertEqual(list(other), ["SenderId"])

    def test_batches_fail_by_entry(self):
        url = self.queue()
        answer = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "good", "MessageBody": "x"}, {"Id": "bad", "MessageBody": "\x00"}])
        self.assertEqual([s["Id"] for s in answer["Successful"]], ["good"])
        failed = answer["Failed"][0]
        self.assertEqual((failed["Id"], failed["SenderFault"], failed["Code"]), ("bad", True, "InvalidMessageContents"))
        handle = self.receive(url)["Messages"][0]["ReceiptHandle"]
        changed = sqs.change_message_visibility_batch(QueueUrl=url, Entries=[
            {"Id": "good", "ReceiptHandle": handle, "VisibilityTimeout": 60}, {"Id": "bad", "ReceiptHandle": "nonsense", "VisibilityTimeout": 60}])
        self.assertEqual(([s["Id"] for s in changed["Successful"]], [f["Code"] for f in changed["Failed"]]), (["good"], ["ReceiptHandleIsInvalid"]))
        deleted = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "good", "ReceiptHandle": handle}, {"Id": "bad", "ReceiptHandle": "nonsense"}])
        self.assertEqual(([s["Id"] for s in deleted["Successful"]], [f["Code"] for f in deleted["Failed"]]), (["good"], ["ReceiptHandleIsInvalid"]))
        whole = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "good", "MessageBody": "x"}])
        self.assertNotIn("Failed", whole)

    def test_a_delayed_message_stays_away(self):
        url = self.queue()
        began = time.monotonic()
        sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=2)
        sqs.send_message(QueueUrl=url, MessageBody="early")
        self.assertEqual(self.receive(url)["Messages"][0]["Body"], "early")
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"])["Attributes"]
        self.assertEqual(counts, {"ApproximateNumberOfMessagesDelayed": "1"})
        self.assertEqual(self.receive(url)["Messages"][0]["Body"], "late")
        self.assertGreaterEqual(time.monotonic() - began, 2)

    def test_a_long_poll_ends_when_a_message_comes(self):
        url = self.queue()
        answers = []
        poll = threading.Thread(target=lambda: answers.append(client().receive_message(QueueUrl=url, WaitTimeSeconds=20)))
        began = time.monotonic()
        poll.start()
        poll.join(1)
        self.assertTrue(poll.is_alive())
        sqs.send_message(QueueUrl=url, MessageBody="x")
        poll.join(15)
        self.assertEqual(answers[0]["Messages"][0]["Body"], "x")
        self.assertLess(time.monotonic() - began, 15)

    def test_a_long_poll_without_a_message_takes_its_time(self):
        began = time.monotonic()
        self.assertNotIn("Messages", self.receive(self.queue(), WaitTimeSeconds=2))
        self.assertGreaterEqual(time.monotonic() - began, 2)

    def test_a_message_comes_back_after_its_visibility_timeout(self):
        url = self.queue()
        sqs.send_message(QueueUrl=url, MessageBody="x")
        first = self.receive(url, VisibilityTimeout=1)["Messages"][0]
        self.assertNotIn("Messages", self.receive(url, WaitTimeSeconds=0))
        again = self.receive(url, VisibilityTimeout=60)["Messages"][0]
        self.assertEqual(again["MessageId"], first["MessageId"])
        self.assertNotEqual(again["ReceiptHandle"], first["ReceiptHandle"])

    def test_a_message_that_is_back_can_be_hidden_again(self):
        url = self.queue()
        sqs.send_message(QueueUrl=url, MessageBody="x")
        handle = self.receive(url)["Messages"][0]["ReceiptHandle"]
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)
        self.assertNotIn("Messages", self.receive(url, WaitTimeSeconds=1))
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        self.assertIn("Messages", self.receive(url))
        sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
        self.refused("InvalidParameterValue", sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60)


class Queues(Case):
    def test_pages(self):
        prefix = "page-" + uuid.uuid4().hex[:8] + "-"
        names = [f"{prefix}{n:02}" for n in range(12)]
        for name in names:
            self.queue(name)
        pages = list(sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 5}))
        self.assertEqual([len(page["QueueUrls"]) for page in pages], [5, 5, 2])
        self.assertEqual(sorted(url.rsplit("/", 1)[1] for page in pages for url in page["QueueUrls"]), names)
        self.assertNotIn("NextToken", pages[-1])
        self.assertNotIn("QueueUrls", sqs.list_queues(QueueNamePrefix=prefix + "none"))

    def test_attributes(self):
        url = self.queue(VisibilityTimeout="7", DelaySeconds="3", ReceiveMessageWaitTimeSeconds="2")
        got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual((got["VisibilityTimeout"], got["DelaySeconds"], got["ReceiveMessageWaitTimeSeconds"]), ("7", "3", "2"))
        self.assertEqual(got["QueueArn"].split(":")[:4] + [got["QueueArn"].rsplit(":", 1)[1]],
                         ["arn", "aws", "sqs", "us-east-1", url.rsplit("/", 1)[1]])
        self.assertNotIn("FifoQueue", got)
        two = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])["Attributes"]
        self.assertEqual(two, {"VisibilityTimeout": "7"})
        self.assertNotIn("Attributes", sqs.get_queue_attributes(QueueUrl=url))
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "8"})
        self.assertEqual(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"], {"VisibilityTimeout": "8"})

    def test_tags(self):
        url = self.queue()
        self.assertNotIn("Tags", sqs.list_queue_tags(QueueUrl=url))
        sqs.tag_queue(QueueUrl=url, Tags={"team": "a", "empty": ""})
        self.assertEqual(sqs.list_queue_tags(QueueUrl=url)["Tags"], {"team": "a", "empty": ""})
        sqs.untag_queue(QueueUrl=url, TagKeys=["team"])
        self.assertEqual(sqs.list_queue_tags(QueueUrl=url)["Tags"], {"empty": ""})
        born = sqs.create_queue(QueueName="t-" + uuid.uuid4().hex, tags={"at": "birth"})["QueueUrl"]
        self.addCleanup(self.delete, born)
        self.assertEqual(sqs.list_queue_tags(QueueUrl=born)["Tags"], {"at": "birth"})

    def test_dead_letters(self):
        dead = self.queue()
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        url = self.queue(VisibilityTimeout="0", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "2"}))
        self.assertEqual(sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], [url])
        sent = sqs.send_message(QueueUrl=url, MessageBody="poison")["MessageId"]
        for _ in range(2):
            self.assertEqual(self.receive(url)["Messages"][0]["MessageId"], sent)
        self.assertNotIn("Messages", self.receive(url, WaitTimeSeconds=1))
        moved = self.receive(dead, AttributeNames=["All"])["Messages"][0]
        self.assertEqual(moved["MessageId"], sent)
        self.assertTrue(moved["Attributes"]["DeadLetterQueueSourceArn"].endswith(url.rsplit("/", 1)[1]))

    def test_purge(self):
        url = self.queue()
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(10)])
        sqs.purge_queue(QueueUrl=url)
        self.assertNotIn("Messages", self.receive(url, WaitTimeSeconds=0))

    def test_the_resource_interface(self):
        resource = boto3.resource("sqs", endpoint_url=os.environ["MNQ_URL"])
        queue = resource.create_queue(QueueName="r-" + uuid.uuid4().hex)
        self.addCleanup(self.delete, queue.url)
        self.assertEqual(resource.get_queue_by_name(QueueName=queue.url.rsplit("/", 1)[1]).url, queue.url)
        queue.send_message(MessageBody="x")
        for message in queue.receive_messages(WaitTimeSeconds=5):
            self.assertEqual(message.body, "x")
            message.delete()
        queue.reload()
        self.assertEqual(queue.attributes["ApproximateNumberOfMessages"], "0")
        self.assertIn(queue.url, [q.url for q in resource.queues.all()])

    @unittest.skipIf(speaks_json, "presigned SQS requests are of the Query protocol")
    def test_presigned_requests(self):
        url = self.queue()
        for method, body in (("GET", "by link & more"), ("POST", "+ ü")):
            signed = sqs.generate_presigned_url("send_message", Params={"QueueUrl": url, "MessageBody": body}, HttpMethod=method)
            with urlopen(Request(signed, method=method)) as answer:
                self.assertIn(b"<MD5OfMessageBody>", answer.read())
            message = self.receive(url)["Messages"][0]
            self.assertEqual(message["Body"], body)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    print("boto3", boto3.__version__, "botocore", botocore.__version__, "protocol", sqs.meta.service_model.metadata["protocol"], flush=True)
    unittest.main(verbosity=2, warnings="ignore")
