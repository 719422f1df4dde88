// Receives the messages of a topic over HTTP and believes only what the server has signed.
// The signature is checked with the certificate that the server publishes.
import { createVerify } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import * as sns from "@aws-sdk/client-sns";

const server = process.env.AWS_ENDPOINT_URL.replace(/\/*$/, "/");

async function get(url) {
  if (!url.startsWith(server)) throw new Error(`${url} is not on the server`);
  const r = await fetch(url);
  if (!r.ok) throw new Error(`${url}: ${r.status}`);
  return r.text();
}

async function verify(m) {
  const other = m.Type === "Notification" ? ["SubscribeURL", "Token"] : [];
  const names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
  const text = names.filter((n) => n in m && !other.includes(n)).map((n) => `${n}\n${m[n]}\n`).join("");
  const check = createVerify(m.SignatureVersion === "2" ? "RSA-SHA256" : "RSA-SHA1").update(text);
  if (!check.verify(await get(m.SigningCertURL), m.Signature, "base64")) throw new Error("not signed by the server");
}

const client = new sns.SNSClient();
const { TopicArn } = await client.send(new sns.CreateTopicCommand({ Name: "javascript-webhook" }));
const hook = createServer(async (request, response) => {
  try {
    const m = await json(request);
    if (m.TopicArn !== TopicArn) throw new Error("of another topic");
    await verify(m);
    if (m.Type === "SubscriptionConfirmation") await get(m.SubscribeURL);
    response.writeHead(204).end();
    hook.emit("message", m);
  } catch (e) {
    response.writeHead(403).end(e.message);
  }
}).listen(0, "127.0.0.1");
await once(hook, "listening");

const confirmed = once(hook, "message");
await client.send(new sns.SubscribeCommand({ TopicArn, Protocol: "http", Endpoint: `http://127.0.0.1:${hook.address().port}/` }));
await confirmed;
const received = once(hook, "message");
await client.send(new sns.PublishCommand({ TopicArn, Message: "hello" }));
const [m] = await received;
console.log("verified:", m.Message);
hook.close();
hook.closeAllConnections();
client.destroy();
