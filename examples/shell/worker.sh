#!/bin/bash
# A queue worker: a job that fails comes again, and goes to the dead-letter queue after three
# tries. The endpoint and the keys are in the AWS_ variables.
set -euo pipefail
sqs() { aws --endpoint-url "$AWS_ENDPOINT_URL" --output json sqs "$@"; }

handle() {
  [ "$1" != "resize nothing" ] || { echo "failed: there is no picture"; return 1; }
  echo "done: $1"
}

dead=$(sqs create-queue --queue-name shell-jobs-dead | jq -r .QueueUrl)
arn=$(sqs get-queue-attributes --queue-url "$dead" --attribute-names QueueArn | jq -r .Attributes.QueueArn)
jobs=$(sqs create-queue --queue-name shell-jobs --attributes "$(jq -n --arg arn "$arn" \
  '{VisibilityTimeout: "2", RedrivePolicy: ({deadLetterTargetArn: $arn, maxReceiveCount: 2} | tojson)}')" | jq -r .QueueUrl)
for job in "resize cat.jpg" "resize nothing"; do
  sqs send-message --queue-url "$jobs" --message-body "$job" >/dev/null
done

# A real worker goes on for ever; this one until the queue has been empty for 5 seconds.
while message=$(sqs receive-message --queue-url "$jobs" --wait-time-seconds 5) && [ -n "$message" ]; do
  if handle "$(jq -r '.Messages[0].Body' <<<"$message")"; then
    sqs delete-message --queue-url "$jobs" --receipt-handle "$(jq -r '.Messages[0].ReceiptHandle' <<<"$message")"
  fi
done
echo "given up: $(sqs receive-message --queue-url "$dead" --wait-time-seconds 10 | jq -r '.Messages[].Body')"
