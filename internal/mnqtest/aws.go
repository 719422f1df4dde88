package mnqtest

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// SQS returns an AWS SDK client for the endpoint with no retries, so that a test
// sees each answer.
func SQS(url string, k Keys) *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: aws.String(url), Region: "fr-par",
		Credentials: credentials.NewStaticCredentialsProvider(k.Access, k.Secret, ""),
		Retryer:     aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	})
}

// SNS is the same for topics.
func SNS(url string, k Keys) *sns.Client {
	return sns.New(sns.Options{
		BaseEndpoint: aws.String(url), Region: "fr-par",
		Credentials: credentials.NewStaticCredentialsProvider(k.Access, k.Secret, ""),
		Retryer:     aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	})
}
