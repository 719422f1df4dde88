"""What a Python program sees of SNS through boto3: the exceptions, the texts, what
is present and what is left out. MNQ_URL says where the server is."""

import http.server
import json
import os
import queue
import threading
import unittest
import uuid
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import boto3
import botocore
from botocore.config import Config

import checks
from checks import client as sqs_client


def client(**kwargs):
    return boto3.client("sns", endpoint_url=os.environ["MNQ_URL"], config=Config(retries={"total_max_attempts": 1}), **kwargs)


sns, sqs = client(), sqs_client()


class Case(checks.Case):
    def topic(self, name=None, **attributes):
        arn = sns.create_topic(Name=name or "t-" + uuid.uuid4().hex, Attributes=attributes)["TopicArn"]
        self.addCleanup(sns.delete_topic, TopicArn=arn)
        return arn

    def target(self, **attributes):
        """A queue: its URL and its ARN."""
        name = "q-" + uuid.uuid4().hex + (".fifo" if attributes.get("FifoQueue") else "")
        url = self.queue(name, **attributes)
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def subscribe(self, topic, endpoint, protocol="sqs", **attributes):
        return sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes, ReturnSubscriptionArn=True)["SubscriptionArn"]

    def says(self, text, call, code="InvalidParameter", status=400, **kwargs):
        error = self.refused(code, call, status=status, **kwargs)
        self.assertEqual(error.response["Error"]["Message"], text)
        self.assertEqual(error.response["Error"]["Type"], "Sender")

    def bodies(self, url, count):
        got = []
        while len(got) < count:
            answer = self.receive(url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"])
            self.assertIn("Messages", answer, f"{len(got)} of {count} came")
            got += answer["Messages"]
            for m in answer["Messages"]:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
        return got


class Topics(Case):
    def test_names(self):
        for name in ("", "a b", "x" * 257, "t.fifo", "ü"):
            with self.subTest(name=name):
                self.says("Invalid parameter: Topic Name", sns.create_topic, Name=name)
        self.says("Invalid parameter: Topic Name", sns.create_topic, Name="t", Attributes={"FifoTopic": "true"})

    def test_the_same_topic_twice(self):
        name = "same-" + uuid.uuid4().hex
        arn = self.topic(name, DisplayName="d")
        self.assertEqual(sns.create_topic(Name=name)["TopicArn"], arn)
        self.assertEqual(sns.create_topic(Name=name, Attributes={"DisplayName": "d"})["TopicArn"], arn)
        self.says("Invalid parameter: Attributes Reason: Topic already exists with different attributes",
                  sns.create_topic, Name=name, Attributes={"DisplayName": "e"})
        self.says("Invalid parameter: Tags Reason: Topic already exists with different tags",
                  sns.create_topic, Name=name, Tags=[{"Key": "k", "Value": "v"}])

    def test_arns(self):
        for arn, n in (("x", 1), ("a:b", 2), ("arn:aws:sns:us-east-1:000000000000", 5)):
            self.says(f"Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not {n}", sns.get_topic_attributes, TopicArn=arn)
        self.says("Invalid parameter: TopicArn Reason: no value for required parameter", sns.delete_topic, TopicArn="")
        other = "arn:aws:sns:eu-west-1:000000000000:t"
        for call in (sns.get_topic_attributes, sns.delete_topic, sns.list_subscriptions_by_topic):
            self.says("Invalid parameter: TopicArn", call, TopicArn=other)
        self.says("Invalid parameter: TopicArn", sns.publish, TopicArn=other, Message="x")
        self.says("Invalid parameter: TopicArn", sns.get_topic_attributes, TopicArn="arn:aws:sqs:us-east-1:000000000000:t")
        missing = "arn:aws:sns:us-east-1:000000000000:missing"
        self.says("Topic does not exist", sns.get_topic_attributes, code="NotFound", status=404, TopicArn=missing)
        with self.assertRaises(sns.exceptions.NotFoundException):
            sns.publish(TopicArn=missing, Message="x")
        sns.delete_topic(TopicArn=missing)

    def test_attributes(self):
        arn = self.topic(DisplayName="one")
        got = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
        self.assertEqual({k: v for k, v in got.items() if k not in ("Policy", "EffectiveDeliveryPolicy")}, {
            "TopicArn": arn, "Owner": "000000000000", "DisplayName": "one",
            "SubscriptionsConfirmed": "0", "SubscriptionsPending": "0", "SubscriptionsDeleted": "0",
        })
        self.assertEqual(json.loads(got["EffectiveDeliveryPolicy"]), {"http": {
            "defaultHealthyRetryPolicy": {"minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
                                          "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear"},
            "disableSubscriptionOverrides": False, "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"}}})
        statement = json.loads(got["Policy"])["Statement"][0]
        self.assertEqual((statement["Sid"], statement["Resource"]), ("__default_statement_ID", arn))
        self.assertEqual(sns.get_topic_attributes(TopicArn=self.topic())["Attributes"]["DisplayName"], "")
        sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="2")
        self.assertEqual(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SignatureVersion"], "2")
        self.says("Invalid parameter: AttributeName", sns.set_topic_attributes, TopicArn=arn, AttributeName="Nonsense", AttributeValue="x")

    def test_permissions(self):
        arn = self.topic()
        sns.add_permission(TopicArn=arn, Label="l", AWSAccountId=["123456789012"], ActionName=["Publish"])
        added = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])["Statement"][-1]
        self.assertEqual(added, {"Sid": "l", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "SNS:Publish", "Resource": arn})
        again = dict(TopicArn=arn, Label="l", AWSAccountId=["123456789012"])
        self.says("Invalid parameter: Statement already exists", sns.add_permission, ActionName=["Publish"], **again)
        self.says("Invalid parameter: Policy statement action out of service scope!", sns.add_permission, ActionName=["Foo"], **{**again, "Label": "m"})
        sns.remove_permission(TopicArn=arn, Label="l")
        self.assertEqual(len(json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])["Statement"]), 1)

    def test_tags(self):
        arn = self.topic()
        self.assertEqual(sns.list_tags_for_resource(ResourceArn=arn)["Tags"], [])
        sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
        self.assertEqual(sns.list_tags_for_resource(ResourceArn=arn)["Tags"], [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
        sns.untag_resource(ResourceArn=arn, TagKeys=["a", "missing"])
        self.assertEqual(sns.list_tags_for_resource(ResourceArn=arn)["Tags"], [{"Key": "b", "Value": ""}])
        twice = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
        self.says("Invalid parameter: Duplicated keys are not allowed.", sns.tag_resource, ResourceArn=arn, Tags=twice)
        with self.assertRaises(sns.exceptions.TagLimitExceededException):
            sns.tag_resource(ResourceArn=arn, Tags=[{"Key": str(n), "Value": ""} for n in range(51)])
        self.says("Resource does not exist", sns.list_tags_for_resource, code="ResourceNotFound", status=404,
                  ResourceArn="arn:aws:sns:us-east-1:000000000000:missing")

    def test_pages(self):
        account = str(uuid.uuid4().int)[:12]  # nothing else is there
        far = client(aws_access_key_id=account, aws_secret_access_key="test")
        self.assertEqual(far.list_topics()["Topics"], [])
        arns = [far.create_topic(Name=f"page-{n:03}")["TopicArn"] for n in range(105)]
        pages = list(far.get_paginator("list_topics").paginate())
        self.assertEqual([len(page["Topics"]) for page in pages], [100, 5])
        self.assertEqual(sorted(t["TopicArn"] for page in pages for t in page["Topics"]), arns)
        self.assertNotIn("NextToken", pages[-1])
        self.refused("InvalidParameter", far.list_topics, NextToken="nonsense")
        for n in range(105):
            far.subscribe(TopicArn=arns[0], Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{account}:q{n}")
        for name, kwargs in (("list_subscriptions", {}), ("list_subscriptions_by_topic", {"TopicArn": arns[0]})):
            pages = list(far.get_paginator(name).paginate(**kwargs))
            self.assertEqual([len(page["Subscriptions"]) for page in pages], [100, 5])
            self.assertEqual(len({s["SubscriptionArn"] for page in pages for s in page["Subscriptions"]}), 105)
        for arn in arns:
            far.delete_topic(TopicArn=arn)
        self.assertEqual(far.list_subscriptions()["Subscriptions"], [])

    def test_what_is_not_offered(self):
        for action, kwargs in (
            ("create_platform_application", {"Name": "a", "Platform": "GCM", "Attributes": {}}), ("list_platform_applications", {}),
            ("get_sms_attributes", {}), ("opt_in_phone_number", {"phoneNumber": "+15551234567"}),
        ):
            error = self.refused("InvalidAction", getattr(sns, action), **kwargs)
            self.assertRegex(error.response["Error"]["Message"], r"^The action \w+ is not supported\.$")


class Subscriptions(Case):
    def test_attributes_and_lists(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        self.assertEqual(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"], [])
        arn = self.subscribe(topic, queue_arn)
        self.assertRegex(arn, "^" + topic + ":[0-9a-f-]{36}$")
        self.assertEqual(self.subscribe(topic, queue_arn), arn)
        self.says("Invalid parameter: Attributes Reason: Subscription already exists with different attributes",
                  sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": "true"})
        self.assertEqual(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"], [
            {"SubscriptionArn": arn, "Owner": "000000000000", "Protocol": "sqs", "Endpoint": queue_arn, "TopicArn": topic}])
        got = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        self.assertTrue(got.pop("SubscriptionPrincipal").startswith("arn:"))
        self.assertEqual(got, {
            "SubscriptionArn": arn, "TopicArn": topic, "Owner": "000000000000", "Protocol": "sqs", "Endpoint": queue_arn, "RawMessageDelivery": "false",
            "PendingConfirmation": "false", "ConfirmationWasAuthenticated": "true"})
        self.assertEqual(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"], "1")
        sns.unsubscribe(SubscriptionArn=arn)
        sns.unsubscribe(SubscriptionArn=arn)
        self.says("Subscription does not exist", sns.get_subscription_attributes, code="NotFound", status=404, SubscriptionArn=arn)
        self.assertEqual(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"], [])

    def test_arns(self):
        for arn, n in (("randomstring", 1), ("arn:aws:sns:us-east-1:random", 5)):
            self.says(f"Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not {n}", sns.unsubscribe, SubscriptionArn=arn)
        self.says("Invalid parameter: SubscriptionId", sns.unsubscribe, SubscriptionArn="arn:aws:sns:us-east-1:000000000000:random")
        self.says("Invalid parameter: SubscriptionArn Reason: no value for required parameter", sns.unsubscribe, SubscriptionArn="")

    def test_endpoints(self):
        topic = self.topic()
        def says(text, protocol, endpoint):
            self.says(text, sns.subscribe, TopicArn=topic, Protocol=protocol, Endpoint=endpoint)

        for protocol in ("test-protocol", "emails"):
            says("Invalid parameter: Amazon SNS does not support this protocol string: " + protocol, protocol, "a@b.test")
        says("Invalid parameter: SQS endpoint ARN", "sqs", "http://localhost/000000000000/q")
        says("Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
             "sqs", "arn:aws:sqs:us-east-1:000000000000:q.fifo")
        for number in ("NAA+15551234567", "+15551234567.", "+15--551234567", "invalid-number"):
            says("Invalid SMS endpoint: " + number, "sms", number)
        self.assertTrue(self.subscribe(topic, "+15551234567", "sms").startswith(topic + ":"))
        email = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.com")
        self.assertEqual(email["SubscriptionArn"], "pending confirmation")
        listed = {s["Protocol"]: s["SubscriptionArn"] for s in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]}
        self.assertEqual(listed["email"], "PendingConfirmation")

    def test_attribute_texts(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        def subscribe(**attributes):
            return dict(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes)

        self.says("Invalid parameter: Attributes Reason: RawMessageDelivery: Invalid value [wrongvalue]. Must be true or false.",
                  sns.subscribe, **subscribe(RawMessageDelivery="wrongvalue"))
        error = self.refused("InvalidParameter", sns.subscribe, **subscribe(FilterPolicy='{"key":[]}'))
        self.assertIn("Invalid parameter: Attributes Reason: FilterPolicy: Empty arrays are not allowed", error.response["Error"]["Message"])
        arn = self.subscribe(topic, queue_arn)
        def set_attribute(name, value):
            return dict(SubscriptionArn=arn, AttributeName=name, AttributeValue=value)

        self.says("Invalid parameter: RawMessageDelivery: Invalid value []. Must be true or false.",
                  sns.set_subscription_attributes, **set_attribute("RawMessageDelivery", ""))
        self.says("Invalid parameter: AttributeName", sns.set_subscription_attributes, **set_attribute("Nonsense", "x"))
        self.says("Invalid parameter: RedrivePolicy: deadLetterTargetArn is an invalid arn",
                  sns.set_subscription_attributes, **set_attribute("RedrivePolicy", '{"deadLetterTargetArn":"x"}'))
        self.says("Invalid parameter: FilterPolicyScope: Invalid value [RandomValue]. Please use either MessageBody or MessageAttributes",
                  sns.set_subscription_attributes, **set_attribute("FilterPolicyScope", "RandomValue"))
        sns.set_subscription_attributes(**set_attribute("FilterPolicy", '{"color":["red"]}'))
        got = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        self.assertEqual((json.loads(got["FilterPolicy"]), got["FilterPolicyScope"]), ({"color": ["red"]}, "MessageAttributes"))
        sns.set_subscription_attributes(**set_attribute("FilterPolicy", ""))
        self.assertNotIn("FilterPolicy", sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"])

    def test_filter_policies_decide(self):
        topic = self.topic()
        by_attribute, by_body = self.target(), self.target()
        self.subscribe(topic, by_attribute[1], RawMessageDelivery="true", FilterPolicy=json.dumps({"color": ["red", {"prefix": "bl"}], "n": [{"numeric": [">", 1]}]}))
        self.subscribe(topic, by_body[1], RawMessageDelivery="true", FilterPolicyScope="MessageBody", FilterPolicy=json.dumps({"a": {"b": [{"exists": True}]}}))
        entry = lambda place, body, **attributes: {"Id": str(place), "Message": body, "MessageAttributes": attributes}  # noqa: E731
        text = lambda v: {"DataType": "String", "StringValue": v}  # noqa: E731
        number = lambda v: {"DataType": "Number", "StringValue": v}  # noqa: E731
        sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[
            entry(1, "red", color=text("red"), n=number("2")), entry(2, "low", color=text("red"), n=number("1")),
            entry(3, "blue", color=text("blue"), n=number("1.5")), entry(4, '{"a":{"b":0}}'), entry(5, '{"a":1}'), entry(6, "no object")])
        self.assertEqual(sorted(m["Body"] for m in self.bodies(by_attribute[0], 2)), ["blue", "red"])
        self.assertEqual([m["Body"] for m in self.bodies(by_body[0], 1)], ['{"a":{"b":0}}'])
        for url, _ in (by_attribute, by_body):
            self.assertNotIn("Messages", self.receive(url, WaitTimeSeconds=1))


class Publishing(Case):
    def test_envelope_and_raw(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        arn = self.subscribe(topic, queue_arn)
        sent = sns.publish(TopicArn=topic, Message="grüße\r\n", Subject="s", MessageAttributes={
            "text": {"DataType": "String", "StringValue": "v"}, "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}})
        message = self.bodies(url, 1)[0]
        self.assertNotIn("MessageAttributes", message)
        body = json.loads(message["Body"])
        self.assertEqual(list(body)[:5], ["Type", "MessageId", "TopicArn", "Subject", "Message"])
        self.assertEqual((body["MessageId"], body["Message"], body["Subject"]), (sent["MessageId"], "grüße\r\n", "s"))
        self.assertEqual(body["MessageAttributes"], {"blob": {"Type": "Binary", "Value": "AP8="}, "text": {"Type": "String", "Value": "v"}})
        self.assertNotIn("SequenceNumber", sent)
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true")
        sns.publish(TargetArn=topic, Message="raw", MessageAttributes={"text": {"DataType": "String", "StringValue": "v"}})
        message = self.bodies(url, 1)[0]
        self.assertEqual((message["Body"], message["MessageAttributes"]), ("raw", {"text": {"DataType": "String", "StringValue": "v"}}))

    def test_message_structure(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        self.subscribe(topic, queue_arn, RawMessageDelivery="true")
        sns.publish(TopicArn=topic, MessageStructure="json", Message=json.dumps({"default": "d", "sqs": "for queues", "email": "m"}))
        self.assertEqual(self.bodies(url, 1)[0]["Body"], "for queues")
        json_message = dict(TopicArn=topic, MessageStructure="json")
        self.says("Invalid parameter: Message Structure - No default entry in JSON message body", sns.publish, Message='{"sqs":"x"}', **json_message)
        self.says("Invalid parameter: Message Structure - JSON message body failed to parse", sns.publish, Message="{", **json_message)

    def test_what_is_refused(self):
        topic = self.topic()
        def says(text, **kwargs):
            self.says(text, sns.publish, **{"TopicArn": topic, "Message": "x", **kwargs})

        says("Invalid parameter: Empty message", Message="")
        says("Invalid parameter: Message too long", Message="x" * (256 << 10) + "x")
        for subject in ("", "x" * 101, "a\nb", "ü"):
            says("Invalid parameter: Subject", Subject=subject)
        says("Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type",
             MessageDeduplicationId="d")
        self.says("Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified",
                  sns.publish, TargetArn="arn:aws:sns:us-east-1:000000000000:endpoint/APNS/a/b", Message="x")
        self.says("Invalid parameter: PhoneNumber Reason: +1a234 is not valid to publish to", sns.publish, PhoneNumber="+1a234", Message="x")
        self.says("Invalid parameter: PhoneNumber Reason: SMS is not supported", sns.publish, PhoneNumber="+15551234567", Message="x")
        self.says("Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter", sns.publish, Message="x")

    def test_attributes_that_are_refused(self):
        topic = self.topic()
        def says(text, name="attr1", **value):
            self.says(text, sns.publish, code="ParameterValueInvalid", TopicArn=topic, Message="x", MessageAttributes={name: value})

        good = {"DataType": "String", "StringValue": "x"}
        says("Length of message attribute name must be less than 256 bytes.", "x" * 257, **good)
        says("Invalid message attribute name starting with character '.' was found.", ".a", **good)
        says("Invalid message attribute name ending with character '.' was found.", "a.", **good)
        says("Message attribute name can not have successive '.' character.", "a..b", **good)
        says("Invalid non-alphanumeric character '#x5E' was found in the message attribute name. "
             "Can only include alphanumeric characters, hyphens, underscores, or dots.", "a^b", **good)
        says("The message attribute 'attr1' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.",
             DataType="Stringy", StringValue="x")
        says("The message attribute 'attr1' must contain non-empty message attribute value for message attribute type 'String'.", DataType="String")
        says("The message attribute 'attr1' must contain non-empty message attribute value for message attribute type 'Binary'.",
             DataType="Binary", BinaryValue=b"")
        says("The message attribute 'attr1' with type 'Binary' must use field 'Binary'.", DataType="Binary", StringValue="x")
        says("The message attribute 'attr1' with type 'String' must use field 'String'.", DataType="String", BinaryValue=b"x")
        says("The message attribute 'attr1' with type 'Number' must use field 'String'.", DataType="Number", BinaryValue=b"x")

    def test_batches(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        self.subscribe(topic, queue_arn, RawMessageDelivery="true")
        entry = lambda n, body="x", **more: {"Id": str(n), "Message": body, **more}  # noqa: E731
        answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[entry(n, str(n)) for n in range(10)])
        self.assertEqual([s["Id"] for s in answer["Successful"]], [str(n) for n in range(10)])
        self.assertEqual(answer["Failed"], [])
        self.assertEqual(sorted(m["Body"] for m in self.bodies(url, 10)), [str(n) for n in range(10)])
        mixed = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[entry(1), entry(2, ""), entry(3, Subject="a\n")])
        self.assertEqual([s["Id"] for s in mixed["Successful"]], ["1"])
        self.assertEqual(mixed["Failed"], [
            {"Id": "2", "Code": "InvalidParameter", "Message": "Invalid parameter: Empty message", "SenderFault": True},
            {"Id": "3", "Code": "InvalidParameter", "Message": "Invalid parameter: Subject", "SenderFault": True}])
        for code, text, entries in (
            ("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.", [entry(n) for n in range(11)]),
            ("EmptyBatchRequest", None, []),
            ("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.", [entry(1), entry(1)]),
            ("InvalidBatchEntryId", "The Id of a batch entry in the batch request contains an impermissible character: message.id", [entry("message.id")]),
            ("InvalidBatchEntryId", "The Id of a batch entry in the batch request is too long: " + "a" * 81, [entry("a" * 81)]),
            ("BatchRequestTooLong", "The length of all the messages put together is more than the limit.", [entry(n, "x" * 131_073) for n in range(2)]),
        ):
            with self.subTest(code=code):
                error = self.refused(code, sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries)
                self.assertIsInstance(error, getattr(sns.exceptions, code + "Exception"))
                if text:
                    self.assertEqual(error.response["Error"]["Message"], text)
        self.says("Topic does not exist", sns.publish_batch, code="NotFound", status=404,
                  TopicArn="arn:aws:sns:us-east-1:000000000000:missing", PublishBatchRequestEntries=[entry(1)])

    def test_presigned_requests(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        self.subscribe(topic, queue_arn, RawMessageDelivery="true")
        for method, body in (("GET", "by link & more"), ("POST", "+ ü")):
            signed = sns.generate_presigned_url("publish", Params={"TopicArn": topic, "Message": body}, HttpMethod=method)
            with urlopen(Request(signed, method=method), timeout=30) as answer:
                self.assertIn(b"<PublishResult><MessageId>", answer.read())
            self.assertEqual(self.bodies(url, 1)[0]["Body"], body)

    def test_another_account(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        self.subscribe(topic, queue_arn, RawMessageDelivery="true")
        account = str(uuid.uuid4().int)[:12]
        other = client(aws_access_key_id=account, aws_secret_access_key="test")
        for arn in (topic, topic + "-missing"):
            error = self.refused("AuthorizationError", other.publish, status=403, TopicArn=arn, Message="x")
            self.assertIn("is not authorized to perform: SNS:Publish on resource: " + arn, error.response["Error"]["Message"])
        sns.add_permission(TopicArn=topic, Label="l", AWSAccountId=[account], ActionName=["Publish"])
        other.publish(TopicArn=topic, Message="from elsewhere")
        self.assertEqual(self.bodies(url, 1)[0]["Body"], "from elsewhere")
        self.refused("AuthorizationError", other.get_topic_attributes, status=403, TopicArn=topic)

    def test_fifo(self):
        topic = self.topic("t-" + uuid.uuid4().hex + ".fifo", FifoTopic="true", ContentBasedDeduplication="true")
        url, queue_arn = self.target(FifoQueue="true")
        self.subscribe(topic, queue_arn, RawMessageDelivery="true")
        attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
        self.assertEqual((attributes["FifoTopic"], attributes["ContentBasedDeduplication"]), ("true", "true"))
        self.says("Invalid parameter: The MessageGroupId parameter is required for FIFO topics", sns.publish, TopicArn=topic, Message="x")
        self.says("Invalid parameter: The MessageGroupId parameter is required for FIFO topics", sns.publish_batch, TopicArn=topic,
                  PublishBatchRequestEntries=[{"Id": "1", "Message": "x", "MessageGroupId": "g"}, {"Id": "2", "Message": "x"}])
        first = sns.publish(TopicArn=topic, Message="0", MessageGroupId="g")
        self.assertRegex(first["SequenceNumber"], r"^\d{20}$")
        self.assertEqual(sns.publish(TopicArn=topic, Message="0", MessageGroupId="g")["MessageId"], first["MessageId"])
        batch = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": str(n), "Message": str(n), "MessageGroupId": "g"} for n in (1, 2)])
        self.assertEqual([s["SequenceNumber"] > first["SequenceNumber"] for s in batch["Successful"]], [True, True])
        messages = self.bodies(url, 3)
        self.assertEqual([(m["Body"], m["Attributes"]["MessageGroupId"]) for m in messages], [("0", "g"), ("1", "g"), ("2", "g")])

    def test_the_trace_header_goes_along(self):
        topic, (url, queue_arn) = self.topic(), self.target()
        self.subscribe(topic, queue_arn)
        traced = client()
        trace = "Root=1-67891233-abcdef012345678912345678"
        traced.meta.events.register("before-send.sns.Publish", lambda request, **_: request.headers.update({"X-Amzn-Trace-Id": trace}))
        traced.publish(TopicArn=topic, Message="x")
        self.assertEqual(self.bodies(url, 1)[0]["Attributes"]["AWSTraceHeader"], trace)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.put((dict(self.headers), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Webhooks(Case):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.server.got = queue.Queue()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def got(self, kind):
        headers, body = self.server.got.get(timeout=30)
        self.assertEqual((headers["x-amz-sns-message-type"], body["Type"]), (kind, kind))
        return body

    def visit(self, url):
        with urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def test_confirmed_by_the_link(self):
        topic = self.topic()
        self.assertEqual(sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=self.url)["SubscriptionArn"], "pending confirmation")
        self.assertEqual(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"][0]["SubscriptionArn"], "PendingConfirmation")
        body = self.got("SubscriptionConfirmation")
        parameters = parse_qs(urlsplit(body["SubscribeURL"]).query)
        self.assertEqual((parameters["TopicArn"], parameters["Token"]), ([topic], [body["Token"]]))
        answer = self.visit(body["SubscribeURL"])
        self.assertIn("<ConfirmSubscriptionResult><SubscriptionArn>" + topic + ":", answer)
        arn = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"][0]["SubscriptionArn"]
        self.assertEqual(sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["ConfirmationWasAuthenticated"], "false")
        sns.publish(TopicArn=topic, Message="x")
        note = self.got("Notification")
        self.assertEqual(note["Message"], "x")
        self.assertIn("-----BEGIN CERTIFICATE-----", self.visit(note["SigningCertURL"]))
        self.visit(note["UnsubscribeURL"])
        self.assertEqual(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"], [])
        self.got("UnsubscribeConfirmation")

    def test_confirmed_by_a_signed_call(self):
        topic = self.topic()
        arn = self.subscribe(topic, self.url, "http")
        token = self.got("SubscriptionConfirmation")["Token"]
        self.says("Invalid token", sns.confirm_subscription, TopicArn=topic, Token="abc")
        other = client(aws_access_key_id=str(uuid.uuid4().int)[:12], aws_secret_access_key="test")
        theirs = other.create_topic(Name=topic.rsplit(":", 1)[1])["TopicArn"]
        self.says("Invalid parameter: Token", other.confirm_subscription, TopicArn=theirs, Token=token)
        self.refused("AuthorizationError", other.confirm_subscription, status=403, TopicArn=topic, Token=token)
        self.says("Invalid parameter: Token", sns.confirm_subscription, TopicArn=self.topic(), Token=token)
        self.assertEqual(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"], "1")
        for _ in range(2):
            confirmed = sns.confirm_subscription(TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="true")
            self.assertEqual(confirmed["SubscriptionArn"], arn)
        self.assertEqual(sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["ConfirmationWasAuthenticated"], "true")
        sns.publish(TopicArn=topic, Message="x")
        with self.assertRaises(HTTPError) as caught:
            self.visit(self.got("Notification")["UnsubscribeURL"])
        self.assertEqual(caught.exception.code, 403)
        self.assertIn("<Code>AuthorizationError</Code>", caught.exception.read().decode())
        sns.unsubscribe(SubscriptionArn=arn)

    def test_links_that_lead_nowhere(self):
        topic = self.topic()
        for query, code, text in (
            (f"Action=ConfirmSubscription&TopicArn={topic}&Token=abc", 400, "Invalid parameter: Token"),
            ("Action=ConfirmSubscription&TopicArn=abc&Token=abc", 400, "Invalid parameter: Topic"),
            (f"Action=ConfirmSubscription&TopicArn={topic}", 400, "Value null at 'token' failed to satisfy constraint: Member must not be null"),
            (f"Action=DeleteTopic&TopicArn={topic}", 403, "Request is missing Authentication Token"),
        ):
            with self.subTest(query=query), self.assertRaises(HTTPError) as caught:
                self.visit(os.environ["MNQ_URL"] + "/?" + query)
            body = caught.exception.read().decode()
            self.assertEqual(caught.exception.code, code, body)
            self.assertIn(text, body.replace("&#39;", "'"))


if __name__ == "__main__":
    print("boto3", boto3.__version__, "botocore", botocore.__version__, "protocol", sns.meta.service_model.metadata["protocol"], flush=True)
    unittest.main(verbosity=2, warnings="ignore")
