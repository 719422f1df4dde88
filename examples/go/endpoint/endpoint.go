// Package endpoint reaches SQS and SNS as the usual variables say.
package endpoint

import (
	"cmp"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Config is what config.LoadDefaultConfig of the SDK makes of the same variables.
func Config() aws.Config {
	return aws.Config{
		BaseEndpoint: aws.String(cmp.Or(os.Getenv("AWS_ENDPOINT_URL"), "http://127.0.0.1:9324")),
		Region:       cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
		Credentials: credentials.NewStaticCredentialsProvider(
			cmp.Or(os.Getenv("AWS_ACCESS_KEY_ID"), "test"), cmp.Or(os.Getenv("AWS_SECRET_ACCESS_KEY"), "test"), ""),
	}
}
