import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/**
 * Starts `mnq serve --dev --ephemeral` on free ports and resolves when it is ready.
 *
 * @param {object} [options]
 * @param {string} [options.binary] path of mnq; default: MNQ_BIN, or mnq in the PATH
 * @param {string[]} [options.args] further flags, such as ["--config", "mnq.yaml"]
 * @returns {Promise<{url: string, natsUrl: string, env: Record<string, string>, stop: () => Promise<void>}>}
 *   env are the variables that the AWS SDKs read; stop ends the server and removes its data
 */
export async function start({ binary = process.env.MNQ_BIN ?? "mnq", args = [] } = {}) {
  const child = spawn(
    binary,
    ["serve", "--dev", "--ephemeral", "--fsync", "interval", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", ...args],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let log = "";
  child.stderr.on("data", (text) => (log = (log + text).slice(-4000)));
  const ended = new Promise((resolve, reject) => {
    child.on("error", reject); // there is no such program
    child.on("close", resolve);
  });
  // A test runner that goes away must not leave the server behind.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);

  const found = {};
  const ready = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const [name, value] = line.split(/ +/);
      found[name] = value;
      if (name === "dev") break;
    }
    if (!found.dev) throw new Error(`mnq ended before it was ready: ${log}`);
    child.stdout.resume();
  })();
  try {
    await Promise.race([ready, ended.then(() => ready)]);
  } catch (error) {
    process.off("exit", kill);
    child.kill("SIGKILL");
    throw error;
  }
  return {
    url: found.http,
    natsUrl: found.nats,
    env: {
      AWS_ENDPOINT_URL: found.http,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
    },
    async stop() {
      process.off("exit", kill);
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await once(child, "close");
      }
    },
  };
}
