package aws

import (
	"fmt"
	"strings"

	"github.com/openmnq/mnq"
)

// snsVocabulary is SNS's model, which has codes for Query only, without what keys,
// phones and mobile applications can cause.
func snsVocabulary() *vocabulary {
	faults := map[string]fault{
		// What other packages call by a name of their own.
		"AccessDenied":         {code: "AuthorizationError", status: 403},
		"RequestThrottled":     {code: "Throttling", status: 400},
		"UnsupportedOperation": {code: "InvalidAction", status: 400},
		"OverLimit":            {code: "OverLimit", status: 403}, // the storage quota, for which SNS has no code
	}
	for status, codes := range map[int][]string{
		400: {
			"InvalidParameter", "ParameterValueInvalid", "InvalidState", "ValidationError", "BatchEntryIdsNotDistinct",
			"BatchRequestTooLong", "EmptyBatchRequest", "InvalidBatchEntryId", "TooManyEntriesInBatchRequest", "ConcurrentAccess",
			"StaleTag", "TagLimitExceeded", "TagPolicy",
		},
		403: {
			"AuthorizationError", "InvalidSecurity", "FilterPolicyLimitExceeded", "SubscriptionLimitExceeded", "TopicLimitExceeded",
			"ReplayLimitExceeded",
		},
		404: {"NotFound", "ResourceNotFound"},
		429: {"Throttled"},
	} {
		for _, code := range codes {
			faults[code] = fault{code: code, status: status}
		}
	}
	return &vocabulary{
		faults: withCommon(faults),
		kinds: map[mnq.Kind]string{
			mnq.Internal: "InternalFailure", mnq.Invalid: "InvalidParameter", mnq.Unauthenticated: "InvalidClientTokenId",
			mnq.Denied: "AuthorizationError", mnq.NotFound: "NotFound", mnq.Exists: "InvalidParameter",
			mnq.Conflict:      "ServiceUnavailable", // as for SQS
			mnq.QuotaExceeded: "OverLimit", mnq.Throttled: "Throttled", mnq.Unavailable: "ServiceUnavailable",
			mnq.Unsupported: "UnsupportedOperation",
		},
	}
}

func invalidParameter(msg string) error {
	return invalid("InvalidParameter", "Invalid parameter: "+msg)
}

// maxNulls is how many missing members one error names.
const maxNulls = 10

// isNull is the error about members that must not be missing.
func isNull(members ...string) error {
	n := len(members)
	texts := make([]string, 0, maxNulls)
	for _, m := range members[:min(n, maxNulls)] {
		texts = append(texts, "Value null at '"+m+"' failed to satisfy constraint: Member must not be null")
	}
	errors := "errors"
	if n == 1 {
		errors = "error"
	}
	return invalid("ValidationError", fmt.Sprintf("%d validation %s detected: %s", n, errors, strings.Join(texts, "; ")))
}
