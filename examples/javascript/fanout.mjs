// Each message of a topic goes to the queues whose filters take it.
import * as sns from "@aws-sdk/client-sns";
import * as sqs from "@aws-sdk/client-sqs";

const topics = new sns.SNSClient();
const queues = new sqs.SQSClient();

const { TopicArn } = await topics.send(new sns.CreateTopicCommand({ Name: "javascript-orders" }));
const urls = {};
for (const [name, policy] of Object.entries({ "javascript-billing": {}, "javascript-express": { delivery: ["express"] } })) {
  const { QueueUrl } = await queues.send(new sqs.CreateQueueCommand({ QueueName: name }));
  urls[name] = QueueUrl;
  const { Attributes } = await queues.send(new sqs.GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }));
  await topics.send(
    new sns.SubscribeCommand({
      TopicArn,
      Protocol: "sqs",
      Endpoint: Attributes.QueueArn,
      Attributes: { RawMessageDelivery: "true", FilterPolicy: JSON.stringify(policy) },
    }),
  );
}
for (const [Message, delivery] of [["order 1", "post"], ["order 2", "express"]]) {
  const MessageAttributes = { delivery: { DataType: "String", StringValue: delivery } };
  await topics.send(new sns.PublishCommand({ TopicArn, Message, MessageAttributes }));
}
for (let [name, left] of [["javascript-billing", 2], ["javascript-express", 1]]) {
  while (left > 0) {
    const QueueUrl = urls[name];
    const { Messages = [] } = await queues.send(new sqs.ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 }));
    for (const m of Messages) {
      console.log(name, "has", m.Body);
      await queues.send(new sqs.DeleteMessageCommand({ QueueUrl, ReceiptHandle: m.ReceiptHandle }));
      left--;
    }
  }
}
