package console

import "strings"

// snippet is how one tool connects.
type snippet struct{ Name, Code string }

type connectPage struct {
	Endpoint string
	Account  string
	Snippets []snippet
}

// connect shows how programs get to the namespace.
func (p *page) connect() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	out := connectPage{Endpoint: p.c.cfg.PublicURL(), Account: p.ns.Account}
	templates := awsSnippets
	if p.ns.NATS() {
		out.Endpoint, templates = p.c.cfg.NATSEndpoint(), natsSnippets
	}
	fill := strings.NewReplacer("{endpoint}", out.Endpoint, "{region}", p.c.cfg.Region, "{account}", p.ns.Account)
	for _, s := range templates {
		out.Snippets = append(out.Snippets, snippet{s.Name, fill.Replace(s.Code)})
	}
	return p.show("connect", "Connect", out)
}

var awsSnippets = []snippet{
	{"AWS CLI", `export AWS_ACCESS_KEY_ID=…  AWS_SECRET_ACCESS_KEY=…  AWS_DEFAULT_REGION={region}
export AWS_ENDPOINT_URL={endpoint}
aws sqs list-queues
aws sqs send-message --queue-url {endpoint}/{account}/QUEUE --message-body hello`},
	{"Python, boto3", `import boto3

sqs = boto3.client("sqs", endpoint_url="{endpoint}", region_name="{region}",
                   aws_access_key_id="…", aws_secret_access_key="…")
sqs.send_message(QueueUrl="{endpoint}/{account}/QUEUE", MessageBody="hello")`},
	{"Go", `cfg := aws.Config{
	Region:      "{region}",
	Credentials: credentials.NewStaticCredentialsProvider("…", "…", ""),
}
client := sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.BaseEndpoint = aws.String("{endpoint}") })
_, err := client.SendMessage(ctx, &sqs.SendMessageInput{
	QueueUrl:    aws.String("{endpoint}/{account}/QUEUE"),
	MessageBody: aws.String("hello"),
})`},
	{"JavaScript", `import { SQSClient, SendMessageCommand } from "@aws-sdk/client-sqs";

const sqs = new SQSClient({
  region: "{region}", endpoint: "{endpoint}",
  credentials: { accessKeyId: "…", secretAccessKey: "…" },
});
await sqs.send(new SendMessageCommand({ QueueUrl: "{endpoint}/{account}/QUEUE", MessageBody: "hello" }));`},
	{"Java", `SqsClient sqs = SqsClient.builder()
    .region(Region.of("{region}"))
    .endpointOverride(URI.create("{endpoint}"))
    .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("…", "…")))
    .build();
sqs.sendMessage(r -> r.queueUrl("{endpoint}/{account}/QUEUE").messageBody("hello"));`},
	{"Terraform", `provider "aws" {
  region                      = "{region}"
  access_key                  = "…"
  secret_key                  = "…"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  endpoints {
    sqs = "{endpoint}"
    sns = "{endpoint}"
  }
}

resource "aws_sqs_queue" "orders" {
  name = "orders"
}`},
}

var natsSnippets = []snippet{
	{"nats CLI", `nats --server {endpoint} --creds mnq.creds pub orders.new hello
nats --server {endpoint} --creds mnq.creds stream ls`},
	{"Go", `nc, err := nats.Connect("{endpoint}", nats.UserCredentials("mnq.creds"))
if err != nil {
	return err
}
defer nc.Drain()
err = nc.Publish("orders.new", []byte("hello"))`},
	{"Python, nats-py", `import asyncio, nats

async def main():
    nc = await nats.connect("{endpoint}", user_credentials="mnq.creds")
    await nc.publish("orders.new", b"hello")
    await nc.drain()

asyncio.run(main())`},
	{"JavaScript", `import { connect, credsAuthenticator } from "@nats-io/transport-node";
import { readFile } from "node:fs/promises";

const nc = await connect({
  servers: "{endpoint}",
  authenticator: credsAuthenticator(await readFile("mnq.creds")),
});
nc.publish("orders.new", "hello");
await nc.drain();`},
	{"Java", `Options o = new Options.Builder()
    .server("{endpoint}")
    .authHandler(Nats.credentials("mnq.creds"))
    .build();
try (Connection nc = Nats.connect(o)) {
    nc.publish("orders.new", "hello".getBytes());
}`},
}
