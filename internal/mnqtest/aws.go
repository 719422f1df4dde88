package mnqtest

import (
	"bytes"
	"io"
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
		HTTPClient:  &http.Client{Transport: fromMemory{&http.Transport{MaxIdleConnsPerHost: 64}}},
	})
}

// SNS is the same for topics.
func SNS(url string, k Keys) *sns.Client {
	return sns.New(sns.Options{
		BaseEndpoint: aws.String(url), Region: "fr-par",
		Credentials: credentials.NewStaticCredentialsProvider(k.Access, k.Secret, ""),
		Retryer:     aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: fromMemory{&http.Transport{MaxIdleConnsPerHost: 64}}},
	})
}

// fromMemory sends request bodies from a copy. The SDK closes its own as soon as an
// answer begins; on a busy machine the transport may not have seen its end by then,
// takes that for a failed write and closes the connection under the answer.
type fromMemory struct{ transport *http.Transport }

// RoundTrip makes the request.
func (f fromMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return f.transport.RoundTrip(r)
}
