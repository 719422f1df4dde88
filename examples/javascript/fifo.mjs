// The messages of a group come in order, and duplicates are left out.
import * as sqs from "@aws-sdk/client-sqs";

const client = new sqs.SQSClient();
const { QueueUrl } = await client.send(
  new sqs.CreateQueueCommand({
    QueueName: "javascript-accounts.fifo",
    Attributes: { FifoQueue: "true", ContentBasedDeduplication: "true" },
  }),
);
for (const step of ["open", "deposit", "close"]) {
  for (const MessageGroupId of ["anna", "bert"]) {
    const MessageBody = `${step} ${MessageGroupId}`;
    await client.send(new sqs.SendMessageCommand({ QueueUrl, MessageBody, MessageGroupId }));
    await client.send(new sqs.SendMessageCommand({ QueueUrl, MessageBody, MessageGroupId })); // a duplicate
  }
}
for (let left = 6; left > 0; ) {
  const { Messages = [] } = await client.send(
    new sqs.ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20, MessageSystemAttributeNames: ["MessageGroupId"] }),
  );
  for (const m of Messages) {
    console.log(`${m.Attributes.MessageGroupId}:`, m.Body);
    await client.send(new sqs.DeleteMessageCommand({ QueueUrl, ReceiptHandle: m.ReceiptHandle }));
    left--;
  }
}
