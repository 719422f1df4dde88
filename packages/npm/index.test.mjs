import assert from "node:assert/strict";
import { test } from "node:test";
import { start } from "./index.mjs";

async function ready(url) {
  try {
    return (await fetch(`${url}/readyz`)).status;
  } catch {
    return "nobody";
  }
}

test("a server starts, answers and stops", async () => {
  const [a, b] = await Promise.all([start(), start()]);
  assert.notEqual(a.url, b.url);
  assert.equal(await ready(a.env.AWS_ENDPOINT_URL), 200);
  assert.match(a.natsUrl, /^nats:\/\/127\.0\.0\.1:\d+$/);
  await a.stop();
  await a.stop();
  assert.equal(await ready(a.url), "nobody");
  assert.equal(await ready(b.url), 200);
  await b.stop();
});

test("what goes wrong is told", async () => {
  await assert.rejects(start({ binary: "/nowhere/mnq" }), /ENOENT/);
  await assert.rejects(start({ args: ["--http", "0.0.0.0:0"] }), /--http: must be a loopback address/);
});
