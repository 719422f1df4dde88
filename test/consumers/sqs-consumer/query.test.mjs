// The last of AWS's JavaScript SDKs that speaks the Query protocol, as programs of
// some years have it: every action, and what it makes of the answers. MNQ_URL says
// where the server is.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as sdk from "client-sqs-query";

const client = new sdk.SQSClient({ endpoint: process.env.MNQ_URL, maxAttempts: 1 });
const called = new Set();

// call makes a request; the SDK checks the MD5 of every body in its answer.
async function call(action, input) {
  called.add(action);
  return client.send(new sdk[`${action}Command`](input));
}

client.middlewareStack.add(
  (next) => async (args) => {
    assert.equal(args.request.headers["content-type"], "application/x-www-form-urlencoded", "this SDK does not speak the Query protocol");
    return next(args);
  },
  { step: "finalizeRequest" },
);

test("every action in the Query protocol", { timeout: 60_000 }, async () => {
  const { QueueUrl } = await call("CreateQueue", { QueueName: "js-query", Attributes: { VisibilityTimeout: "60" }, tags: { made: "by js" } });
  assert.equal((await call("GetQueueUrl", { QueueName: "js-query" })).QueueUrl, QueueUrl);
  assert.deepEqual((await call("ListQueues", { QueueNamePrefix: "js-query" })).QueueUrls, [QueueUrl]);
  await call("SetQueueAttributes", { QueueUrl, Attributes: { ReceiveMessageWaitTimeSeconds: "2" } });
  await call("TagQueue", { QueueUrl, Tags: { more: "tags & <signs>" } });
  assert.deepEqual((await call("ListQueueTags", { QueueUrl })).Tags, { made: "by js", more: "tags & <signs>" });
  await call("UntagQueue", { QueueUrl, TagKeys: ["made", "more"] });
  await call("AddPermission", { QueueUrl, Label: "l", AWSAccountIds: ["123456789012"], Actions: ["SendMessage"] });
  await call("RemovePermission", { QueueUrl, Label: "l" });

  const MessageAttributes = {
    text: { DataType: "String", StringValue: "ü\r\n\t<&>" },
    number: { DataType: "Number.int", StringValue: "12" },
    bytes: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255, 10]) },
  };
  const body = 'a "body" with ü, 😀, \r\n, a\ttab, &#xA; and <markup>&amp;';
  const sent = await call("SendMessage", { QueueUrl, MessageBody: body, MessageAttributes });
  const batch = await call("SendMessageBatch", { QueueUrl, Entries: [{ Id: "1", MessageBody: "one" }, { Id: "2", MessageBody: "\u0001" }] });
  assert.deepEqual([batch.Successful.map((e) => e.Id), batch.Failed.map((e) => [e.Id, e.Code, e.SenderFault])], [["1"], [["2", "InvalidMessageContents", true]]]);

  const got = [];
  while (got.length < 2) {
    const out = await call("ReceiveMessage", { QueueUrl, MaxNumberOfMessages: 10, AttributeNames: ["All"], MessageAttributeNames: ["All"] });
    assert.ok(out.Messages?.length > 0, `only ${got.length} of 2 messages came`);
    got.push(...out.Messages);
  }
  const first = got.find((m) => m.MessageId === sent.MessageId);
  assert.equal(first.Body, body);
  assert.equal(first.MD5OfMessageAttributes, sent.MD5OfMessageAttributes);
  assert.deepEqual(
    Object.fromEntries(Object.entries(first.MessageAttributes).map(([k, v]) => [k, v.StringValue ?? [...v.BinaryValue]])),
    { text: "ü\r\n\t<&>", number: "12", bytes: [0, 255, 10] },
  );
  assert.equal(first.Attributes.ApproximateReceiveCount, "1");
  assert.equal((await call("GetQueueAttributes", { QueueUrl, AttributeNames: ["All"] })).Attributes.ApproximateNumberOfMessagesNotVisible, "2");
  await call("ChangeMessageVisibility", { QueueUrl, ReceiptHandle: first.ReceiptHandle, VisibilityTimeout: 30 });
  const handles = got.map((m, i) => ({ Id: `${i}`, ReceiptHandle: m.ReceiptHandle }));
  assert.equal((await call("ChangeMessageVisibilityBatch", { QueueUrl, Entries: handles.map((h) => ({ ...h, VisibilityTimeout: 60 })) })).Successful.length, 2);
  await call("DeleteMessage", { QueueUrl, ReceiptHandle: first.ReceiptHandle });
  assert.equal((await call("DeleteMessageBatch", { QueueUrl, Entries: handles })).Successful.length, 2);

  const { QueueArn } = (await call("GetQueueAttributes", { QueueUrl, AttributeNames: ["QueueArn"] })).Attributes;
  const source = await call("CreateQueue", { QueueName: "js-query-source", Attributes: { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: QueueArn, maxReceiveCount: 5 }) } });
  assert.deepEqual((await call("ListDeadLetterSourceQueues", { QueueUrl })).queueUrls, [source.QueueUrl]);
  for (let n = 0; n < 10; n++) await call("SendMessage", { QueueUrl, MessageBody: `dead ${n}` });
  const task = await call("StartMessageMoveTask", { SourceArn: QueueArn, DestinationArn: `${QueueArn}-source`, MaxNumberOfMessagesPerSecond: 1 });
  assert.equal((await call("ListMessageMoveTasks", { SourceArn: QueueArn })).Results[0].TaskHandle, task.TaskHandle);
  assert.equal(typeof (await call("CancelMessageMoveTask", { TaskHandle: task.TaskHandle })).ApproximateNumberOfMessagesMoved, "number");

  await call("PurgeQueue", { QueueUrl });
  await assert.rejects(call("PurgeQueue", { QueueUrl }), (err) => err instanceof sdk.PurgeQueueInProgress);
  await call("DeleteQueue", { QueueUrl });
  await assert.rejects(call("GetQueueUrl", { QueueName: "js-query" }), (err) => err instanceof sdk.QueueDoesNotExist && err.$metadata.requestId.length > 0);
  await assert.rejects(call("ReceiveMessage", { QueueUrl: source.QueueUrl, MaxNumberOfMessages: 11 }), { name: "InvalidParameterValue" });

  const all = Object.keys(sdk).filter((name) => name.endsWith("Command") && name !== "$Command");
  assert.deepEqual(all.filter((name) => !called.has(name.slice(0, -"Command".length))), [], "actions that were not called");
});
