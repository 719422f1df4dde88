package aws

import "github.com/openmnq/mnq"

const (
	sqsShape  = "com.amazonaws.sqs#"
	sqsPrefix = "AWS.SimpleQueueService."
)

// sqsVocabulary is SQS's model. The codes are its shape names.
func sqsVocabulary() *vocabulary {
	return &vocabulary{
		faults: withCommon(map[string]fault{
			"QueueDoesNotExist":            {sqsShape + "QueueDoesNotExist", sqsPrefix + "NonExistentQueue", 400},
			"QueueNameExists":              {sqsShape + "QueueNameExists", "QueueAlreadyExists", 400},
			"QueueDeletedRecently":         {sqsShape + "QueueDeletedRecently", sqsPrefix + "QueueDeletedRecently", 400},
			"PurgeQueueInProgress":         {sqsShape + "PurgeQueueInProgress", sqsPrefix + "PurgeQueueInProgress", 403},
			"BatchEntryIdsNotDistinct":     {sqsShape + "BatchEntryIdsNotDistinct", sqsPrefix + "BatchEntryIdsNotDistinct", 400},
			"BatchRequestTooLong":          {sqsShape + "BatchRequestTooLong", sqsPrefix + "BatchRequestTooLong", 400},
			"EmptyBatchRequest":            {sqsShape + "EmptyBatchRequest", sqsPrefix + "EmptyBatchRequest", 400},
			"InvalidBatchEntryId":          {sqsShape + "InvalidBatchEntryId", sqsPrefix + "InvalidBatchEntryId", 400},
			"TooManyEntriesInBatchRequest": {sqsShape + "TooManyEntriesInBatchRequest", sqsPrefix + "TooManyEntriesInBatchRequest", 400},
			"MessageNotInflight":           {sqsShape + "MessageNotInflight", sqsPrefix + "MessageNotInflight", 400},
			"UnsupportedOperation":         {sqsShape + "UnsupportedOperation", sqsPrefix + "UnsupportedOperation", 400},
			"InvalidAttributeName":         {sqsShape + "InvalidAttributeName", "InvalidAttributeName", 400},
			"InvalidAttributeValue":        {sqsShape + "InvalidAttributeValue", "InvalidAttributeValue", 400},
			"InvalidIdFormat":              {sqsShape + "InvalidIdFormat", "InvalidIdFormat", 400},
			"InvalidMessageContents":       {sqsShape + "InvalidMessageContents", "InvalidMessageContents", 400},
			"ReceiptHandleIsInvalid":       {sqsShape + "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404},
			"OverLimit":                    {sqsShape + "OverLimit", "OverLimit", 403},
			"InvalidAddress":               {sqsShape + "InvalidAddress", "InvalidAddress", 404},
			"InvalidSecurity":              {sqsShape + "InvalidSecurity", "InvalidSecurity", 403},
			"RequestThrottled":             {sqsShape + "RequestThrottled", "RequestThrottled", 403},
			"ResourceNotFoundException":    {sqsShape + "ResourceNotFoundException", "ResourceNotFoundException", 404},
		}),
		kinds: map[mnq.Kind]string{
			mnq.Internal: "InternalFailure", mnq.Invalid: "InvalidParameterValue", mnq.Unauthenticated: "InvalidClientTokenId",
			mnq.Denied: "AccessDenied", mnq.NotFound: "ResourceNotFoundException", mnq.Exists: "QueueNameExists",
			mnq.Conflict:      "ServiceUnavailable", // lost a race: the same request may win the next one
			mnq.QuotaExceeded: "OverLimit", mnq.Throttled: "RequestThrottled", mnq.Unavailable: "ServiceUnavailable",
			mnq.Unsupported: "UnsupportedOperation",
		},
	}
}

func queueDoesNotExist() error {
	return &mnq.Error{Kind: mnq.NotFound, Code: "QueueDoesNotExist"}
}
