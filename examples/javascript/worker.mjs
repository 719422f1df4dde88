// A queue worker: a job that fails comes again, and goes to the dead-letter queue after
// three tries. The endpoint and the keys are in the AWS_ variables.
import * as sqs from "@aws-sdk/client-sqs";

const client = new sqs.SQSClient();
const send = (command) => client.send(command);

function handle(job) {
  if (job === "resize nothing") throw new Error("there is no picture");
  console.log("done:", job);
}

const { QueueUrl: dead } = await send(new sqs.CreateQueueCommand({ QueueName: "javascript-jobs-dead" }));
const { Attributes } = await send(new sqs.GetQueueAttributesCommand({ QueueUrl: dead, AttributeNames: ["QueueArn"] }));
const { QueueUrl: jobs } = await send(
  new sqs.CreateQueueCommand({
    QueueName: "javascript-jobs",
    Attributes: {
      VisibilityTimeout: "1", // longer than a job takes
      RedrivePolicy: JSON.stringify({ deadLetterTargetArn: Attributes.QueueArn, maxReceiveCount: 3 }),
    },
  }),
);
for (const MessageBody of ["resize cat.jpg", "resize dog.jpg", "resize nothing"]) {
  await send(new sqs.SendMessageCommand({ QueueUrl: jobs, MessageBody }));
}

// A real worker goes on for ever; this one until the queue has been empty for 5 seconds.
for (;;) {
  const { Messages } = await send(new sqs.ReceiveMessageCommand({ QueueUrl: jobs, MaxNumberOfMessages: 10, WaitTimeSeconds: 5 }));
  if (!Messages) break;
  for (const m of Messages) {
    try {
      handle(m.Body);
    } catch (e) {
      console.log("failed:", e.message);
      continue;
    }
    await send(new sqs.DeleteMessageCommand({ QueueUrl: jobs, ReceiptHandle: m.ReceiptHandle }));
  }
}

const { Messages: failed = [] } = await send(new sqs.ReceiveMessageCommand({ QueueUrl: dead, WaitTimeSeconds: 10 }));
for (const m of failed) console.log("given up:", m.Body);
