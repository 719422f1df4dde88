// sqs-consumer with AWS's JavaScript SDK, as an application uses them. MNQ_URL
// says where the server is.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { CreateQueueCommand, GetQueueAttributesCommand, SendMessageBatchCommand, SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const sqs = new SQSClient({ endpoint: process.env.MNQ_URL, maxAttempts: 1 });
const parallel = { concurrency: true, timeout: 60_000 };
const numbers = (n) => Array.from({ length: n }, (_, i) => `${i}`);

async function createQueue(attributes = {}) {
  const out = await sqs.send(new CreateQueueCommand({ QueueName: `q-${randomUUID()}`, Attributes: attributes }));
  return out.QueueUrl;
}

async function send(queueUrl, ...bodies) {
  for (let at = 0; at < bodies.length; at += 10) {
    const entries = bodies.slice(at, at + 10).map((body, n) => ({ Id: `${n}`, MessageBody: body }));
    const out = await sqs.send(new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries: entries }));
    assert.equal(out.Successful.length, entries.length);
  }
}

function consumer(queueUrl, options) {
  const c = Consumer.create({ queueUrl, sqs, waitTimeSeconds: 2, strictReturn: true, pollingCompleteWaitTimeMs: 20_000, ...options });
  c.errors = [];
  for (const event of ["error", "timeout_error", "processing_error"]) {
    c.on(event, (err) => c.errors.push(err));
  }
  return c;
}

// until waits for a condition; the test's own timeout bounds it.
async function until(condition) {
  while (!condition()) await pause(20);
}

// run lets the consumers work until done() and stops them gracefully.
async function run(consumers, done) {
  consumers.forEach((c) => c.start());
  await until(done);
  const stopped = consumers.map((c) => once(c, "stopped"));
  consumers.forEach((c) => c.stop());
  await Promise.all(stopped);
}

// wantEmpty fails unless the queue reports, in the end, that it holds nothing.
async function wantEmpty(queueUrl) {
  const names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
  const want = { ApproximateNumberOfMessages: "0", ApproximateNumberOfMessagesNotVisible: "0" };
  let got;
  for (const give = Date.now() + 10_000; Date.now() < give; await pause(50)) {
    got = (await sqs.send(new GetQueueAttributesCommand({ QueueUrl: queueUrl, AttributeNames: names }))).Attributes;
    if (Object.values(got).every((n) => n === "0")) break;
  }
  assert.deepEqual(got, want);
}

test("500 messages are each handled once", parallel, async () => {
  const queueUrl = await createQueue();
  await send(queueUrl, ...numbers(500));
  const handled = [];
  const c = consumer(queueUrl, {
    batchSize: 10,
    handleMessage: async (message) => {
      handled.push(message.Body);
      return message;
    },
  });
  await run([c], () => handled.length >= 500);
  assert.deepEqual(c.errors, []);
  assert.deepEqual(handled.sort((a, b) => a - b), numbers(500));
  await wantEmpty(queueUrl);
});

test("three consumers of batches share a queue", parallel, async () => {
  const queueUrl = await createQueue();
  await send(queueUrl, ...numbers(500));
  const handled = [];
  let largest = 0;
  const handleMessageBatch = async (messages) => {
    largest = Math.max(largest, messages.length);
    handled.push(...messages.map((message) => message.Body));
    return messages;
  };
  const all = [1, 2, 3].map(() => consumer(queueUrl, { batchSize: 10, handleMessageBatch }));
  await run(all, () => handled.length >= 500);
  assert.deepEqual(all.flatMap((c) => c.errors), []);
  assert.deepEqual(handled.sort((a, b) => a - b), numbers(500));
  assert.equal(largest, 10);
  await wantEmpty(queueUrl);
});

test("a message whose handler throws is back at once", parallel, async () => {
  const queueUrl = await createQueue({ VisibilityTimeout: "600" });
  await send(queueUrl, "trouble");
  const counts = [];
  const c = consumer(queueUrl, {
    terminateVisibilityTimeout: true,
    messageSystemAttributeNames: ["ApproximateReceiveCount"],
    handleMessage: async (message) => {
      counts.push(message.Attributes.ApproximateReceiveCount);
      if (counts.length < 3) throw new Error("not yet");
      return message;
    },
  });
  await run([c], () => counts.length >= 3);
  assert.deepEqual(counts, ["1", "2", "3"]);
  assert.deepEqual(c.errors.map((err) => err.name), ["StandardError", "StandardError"]);
  await wantEmpty(queueUrl);
});

test("what a batch handler does not acknowledge comes back", parallel, async () => {
  const queueUrl = await createQueue({ VisibilityTimeout: "2" });
  await send(queueUrl, ...numbers(10));
  const acknowledged = [];
  const left = new Set(["3", "7"]);
  const c = consumer(queueUrl, {
    batchSize: 10,
    handleMessageBatch: async (messages) => {
      const done = messages.filter((message) => !left.delete(message.Body));
      acknowledged.push(...done.map((message) => message.Body));
      return done;
    },
  });
  await run([c], () => acknowledged.length >= 10);
  assert.deepEqual(c.errors, []);
  assert.deepEqual(acknowledged.sort(), numbers(10));
  await wantEmpty(queueUrl);
});

test("heartbeats keep a slow message away from others", parallel, async () => {
  const queueUrl = await createQueue();
  await send(queueUrl, "slow");
  let handled = 0;
  let finished = false;
  const all = [1, 2].map(() => consumer(queueUrl, {
    visibilityTimeout: 2,
    heartbeatInterval: 1,
    waitTimeSeconds: 1,
    handleMessage: async (message) => {
      handled++;
      await pause(4500); // between two heartbeats
      finished = true;
      return message;
    },
  }));
  await run(all, () => finished);
  assert.deepEqual(all.flatMap((c) => c.errors), []);
  assert.equal(handled, 1);
  await wantEmpty(queueUrl);
});

test("a graceful stop finishes the message in hand", parallel, async () => {
  const queueUrl = await createQueue();
  await send(queueUrl, "in hand");
  let begun = false;
  let release;
  const c = consumer(queueUrl, {
    handleMessage: async (message) => {
      begun = true;
      await new Promise((resolve) => { release = resolve; });
      return message;
    },
  });
  c.start();
  await until(() => begun);
  const stopped = once(c, "stopped");
  c.stop();
  release();
  await stopped;
  assert.deepEqual(c.errors, []);
  await wantEmpty(queueUrl);
});

test("a stop can break off a long poll and loses nothing", parallel, async () => {
  const queueUrl = await createQueue();
  const received = [];
  const options = { handleMessage: async (message) => { received.push(message.Body); return message; } };
  const first = consumer(queueUrl, { ...options, waitTimeSeconds: 20, pollingCompleteWaitTimeMs: 0 });
  first.start();
  await pause(500);
  const stopped = once(first, "stopped");
  first.stop({ abort: true });
  await stopped;
  await send(queueUrl, "later");
  await run([consumer(queueUrl, options)], () => received.length > 0);
  assert.deepEqual(received, ["later"]);
  await wantEmpty(queueUrl);
});

test("a queue that is missing is an error that the application sees", parallel, async () => {
  const queueUrl = `${await createQueue()}-missing`;
  const c = consumer(queueUrl, { handleMessage: async (message) => message });
  await run([c], () => c.errors.length > 0);
  assert.equal(c.errors[0].name, "SQSError");
  assert.equal(c.errors[0].code, "QueueDoesNotExist");
  assert.equal(c.errors[0].statusCode, 400);
});
