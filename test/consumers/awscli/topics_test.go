//go:build e2e

package awscli

import (
	"os"
	"os/exec"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// topics is what somebody types who uses topics from a shell, and checks.
const topics = `
set -euo pipefail
equal() { [ "$1" = "$2" ] || { echo "got '$1', want '$2' from line ${BASH_LINENO[0]}"; exit 1; }; }
refused() { code=$1; shift; if out=$("$@" 2>&1); then echo "accepted: $*"; exit 1; fi; case $out in *"($code)"*) ;; *) echo "$out"; exit 1;; esac; }
sns() { aws --endpoint-url "$MNQ_URL" --output text sns "$@"; }
sqs() { aws --endpoint-url "$MNQ_URL" --output text sqs "$@"; }

topic=$(sns create-topic --name news --attributes DisplayName=News --tags Key=team,Value=a --query TopicArn)
equal "$(sns list-topics --query 'Topics[].TopicArn')" "$topic"
equal "$(sns get-topic-attributes --topic-arn "$topic" --query Attributes.DisplayName)" News
sns tag-resource --resource-arn "$topic" --tags Key=stage,Value=test
equal "$(sns list-tags-for-resource --resource-arn "$topic" --query 'Tags[].[Key,Value]')" "stage	test
team	a"
sns add-permission --topic-arn "$topic" --label partner --aws-account-id 123456789012 --action-name Publish

url=$(sqs create-queue --queue-name q --query QueueUrl)
queue=$(sqs get-queue-attributes --queue-url "$url" --attribute-names QueueArn --query Attributes.QueueArn)
subscription=$(sns subscribe --topic-arn "$topic" --protocol sqs --notification-endpoint "$queue" --query SubscriptionArn \
  --attributes '{"RawMessageDelivery":"true","FilterPolicy":"{\"kind\":[\"new\"]}"}')
equal "$(sns list-subscriptions-by-topic --topic-arn "$topic" --query 'Subscriptions[].Endpoint')" "$queue"
equal "$(sns get-subscription-attributes --subscription-arn "$subscription" --query Attributes.FilterPolicyScope)" MessageAttributes
sns publish --topic-arn "$topic" --message old --message-attributes '{"kind":{"DataType":"String","StringValue":"old"}}' > id
sns publish --topic-arn "$topic" --message one --message-attributes '{"kind":{"DataType":"String","StringValue":"new"}}' > id
sns set-subscription-attributes --subscription-arn "$subscription" --attribute-name FilterPolicy --attribute-value ''
sns publish-batch --topic-arn "$topic" --publish-batch-request-entries Id=a,Message=two Id=b,Message=three > batch
equal "$(grep -c SUCCESSFUL batch)" 2
bodies=
while [ "$(wc -w <<< "$bodies")" -lt 3 ]; do
  bodies="$bodies $(sqs receive-message --queue-url "$url" --wait-time-seconds 20 --max-number-of-messages 10 --query 'Messages[].Body')"
done
equal "$(tr ' \t' '\n\n' <<< "$bodies" | sort | xargs)" "one three two"

refused InvalidParameter sns publish --topic-arn "$topic" --message x --subject $'a\nb'
refused InvalidAction sns list-platform-applications
sns unsubscribe --subscription-arn "$subscription"
refused NotFound sns get-subscription-attributes --subscription-arn "$subscription"
sns delete-topic --topic-arn "$topic"
`

func TestTopicsWithDebiansAWSCLI(t *testing.T) {
	t.Parallel()
	path := install(t)
	p := mnqtest.Start(t, mnqtest.Options{})
	keys := p.Keys(p.Namespace("cli", "sqs_sns"), "prm")
	cmd := exec.CommandContext(t.Context(), "bash", "-c", topics)
	cmd.Dir = t.TempDir()
	cmd.Env = mnqtest.Environment(
		cmd.Dir, "PATH="+path+":"+os.Getenv("PATH"), "MNQ_URL="+p.URL,
		"AWS_ACCESS_KEY_ID="+keys.Access, "AWS_SECRET_ACCESS_KEY="+keys.Secret, "AWS_DEFAULT_REGION=fr-par",
	)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
