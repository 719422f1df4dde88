#!/bin/bash
# Asks and answers over NATS, and keeps messages in a JetStream stream, with the nats CLI.
set -euo pipefail
call() { nats --server "$NATS_URL" --creds "$NATS_CREDS" "$@"; }

# Request and reply: the answering side runs until it has answered.
call reply shell.greet "hello {{Request}}" --count 1 >/dev/null 2>&1 &
until answer=$(call request shell.greet world --raw --timeout 2s 2>/dev/null) && [ -n "$answer" ]; do :; done
echo "answer: $answer"
wait

# JetStream.
call stream add SHELL_EVENTS --subjects "shell.events.>" --defaults >/dev/null
for i in 0 1 2; do
  call pub "shell.events.$i" event --jetstream >/dev/null 2>&1
done
call consumer add SHELL_EVENTS reader --pull --defaults >/dev/null
for i in 0 1 2; do
  call consumer next SHELL_EVENTS reader --timeout 20s 2>&1 | grep -o "shell\.events\.$i" | sed 's/^/event: /' | head -1
done
