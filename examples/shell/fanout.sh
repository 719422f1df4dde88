#!/bin/bash
# Each message of a topic goes to the queues whose filters take it.
set -euo pipefail
call() { aws --endpoint-url "$AWS_ENDPOINT_URL" --output json "$@"; }

topic=$(call sns create-topic --name shell-orders | jq -r .TopicArn)
subscribe() { # queue filter
  url=$(call sqs create-queue --queue-name "$1" | jq -r .QueueUrl)
  arn=$(call sqs get-queue-attributes --queue-url "$url" --attribute-names QueueArn | jq -r .Attributes.QueueArn)
  call sns subscribe --topic-arn "$topic" --protocol sqs --notification-endpoint "$arn" \
    --attributes "$(jq -n --arg policy "$2" '{RawMessageDelivery: "true", FilterPolicy: $policy}')" >/dev/null
}
receive() { # queue url, number of messages: they stay in the queue
  local left=$2
  while [ "$left" -gt 0 ]; do
    messages=$(call sqs receive-message --queue-url "$1" --wait-time-seconds 20 --max-number-of-messages 10)
    jq -r --arg name "${1##*/}" '.Messages[] | "\($name) has \(.Body)"' <<<"$messages"
    left=$((left - $(jq '.Messages | length' <<<"$messages")))
  done
}

subscribe shell-billing '{}'
billing=$url
subscribe shell-express '{"delivery":["express"]}'
for delivery in post express; do
  call sns publish --topic-arn "$topic" --message "order by $delivery" \
    --message-attributes "{\"delivery\":{\"DataType\":\"String\",\"StringValue\":\"$delivery\"}}" >/dev/null
done
receive "$billing" 2
receive "$url" 1
