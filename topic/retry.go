package topic

// Until delivery policies are there, they are refused.

func topicDeliveryPolicy(v string) (string, error) {
	if v == "" || v == "{}" {
		return "", nil
	}
	return "", invalid("DeliveryPolicy: is not supported yet")
}

func subscriptionDeliveryPolicy(v string) (string, error) { return topicDeliveryPolicy(v) }

func effectiveTopicPolicy(string) string {
	return `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}`
}

func effectiveSubscriptionPolicy(_, _ string) string {
	return `{"healthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"sicklyRetryPolicy":null,"throttlePolicy":null,"requestPolicy":{"headerContentType":"text/plain; charset=UTF-8"},"guaranteed":false}`
}

func checkDataProtection(v string) (string, error) { return v, nil }
