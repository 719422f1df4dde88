// Asks and answers over NATS, and keeps messages in a JetStream stream.
import { readFile } from "node:fs/promises";
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator } from "@nats-io/transport-node";

const nc = await connect({
  servers: process.env.NATS_URL,
  authenticator: credsAuthenticator(await readFile(process.env.NATS_CREDS)),
});

// Request and reply.
nc.subscribe("javascript.greet", { callback: (_, m) => m.respond(`hello ${m.string()}`) });
const answer = await nc.request("javascript.greet", "world", { timeout: 20_000 });
console.log("answer:", answer.string());

// JetStream: what was published is on disk when publish resolves, and comes again until
// it is acknowledged.
const manager = await jetstreamManager(nc);
await manager.streams.add({ name: "JAVASCRIPT_EVENTS", subjects: ["javascript.events.>"] });
const js = jetstream(nc);
for (let i = 0; i < 3; i++) await js.publish(`javascript.events.${i}`, "event");
await manager.consumers.add("JAVASCRIPT_EVENTS", { durable_name: "reader", ack_policy: AckPolicy.Explicit });
const consumer = await js.consumers.get("JAVASCRIPT_EVENTS", "reader");
for (let i = 0; i < 3; i++) {
  const m = await consumer.next({ expires: 20_000 });
  console.log("event:", m.subject);
  await m.ackAck();
}
await nc.drain();
