// A webhook as an application would write it with sns-validator: it refuses what is
// not signed, confirms subscriptions by their link, and prints what it got, a line of
// JSON for each message. MNQ_HOST is where certificates may come from.
import { createServer } from "node:http";
import { get } from "node:https";

import MessageValidator from "sns-validator";

const host = process.env.MNQ_HOST.replaceAll(".", "\\.");
const validator = new MessageValidator(new RegExp(`^${host}$`));
const validate = (message) => new Promise((resolve) => {
  validator.validate(structuredClone(message), (err) => resolve(err ? err.message : ""));
});
const print = (line) => console.log(JSON.stringify(line));

// A function gets its message within an event.
const messageOf = (body) => body.Records?.[0].Sns ?? body;

const server = createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", async () => {
    const message = messageOf(JSON.parse(Buffer.concat(chunks)));
    const refused = await validate(message);
    const forged = await validate({ ...message, Message: `${message.Message}!` });
    res.writeHead(refused ? 403 : 200).end();
    print({ path: req.url, type: message.Type, version: message.SignatureVersion, message: message.Message, refused, forged });
    if (message.Type === "SubscriptionConfirmation" && !refused) get(message.SubscribeURL, (answer) => answer.resume());
  });
});
server.listen(0, "127.0.0.1", () => print({ url: `http://127.0.0.1:${server.address().port}` }));
