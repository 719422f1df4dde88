#!/bin/bash
# The messages of a group come in order, and duplicates are left out.
set -euo pipefail
sqs() { aws --endpoint-url "$AWS_ENDPOINT_URL" --output json sqs "$@"; }

queue=$(sqs create-queue --queue-name shell-accounts.fifo --attributes FifoQueue=true,ContentBasedDeduplication=true | jq -r .QueueUrl)
sqs send-message-batch --queue-url "$queue" --entries "$(jq -n '[
  "open anna", "open bert", "close anna", "close bert", "close bert" # the last is a duplicate
] | to_entries | map({Id: "\(.key)", MessageBody: .value, MessageGroupId: (.value | split(" ")[1])})')" >/dev/null
left=4
while [ "$left" -gt 0 ]; do
  messages=$(sqs receive-message --queue-url "$queue" --wait-time-seconds 20 --max-number-of-messages 10 --attribute-names MessageGroupId)
  jq -r '.Messages[] | .Attributes.MessageGroupId + ": " + .Body' <<<"$messages"
  sqs delete-message-batch --queue-url "$queue" --entries \
    "$(jq '.Messages | to_entries | map({Id: "\(.key)", ReceiptHandle: .value.ReceiptHandle})' <<<"$messages")" >/dev/null
  left=$((left - $(jq '.Messages | length' <<<"$messages")))
done
