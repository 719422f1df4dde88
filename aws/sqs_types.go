package aws

// The inputs and outputs of SQS. Field names are those on the wire.

type addressedInput struct { // DeleteQueue, PurgeQueue
	QueueUrl string `wire:"required"`
}

type createQueueInput struct {
	QueueName  string            `wire:"required"`
	Attributes map[string]string `query:"Attribute,Name,Value"`
	Tags       map[string]string `json:"tags" query:"Tag,Key,Value"`
}

type queueURLOutput struct { // CreateQueue, GetQueueUrl
	QueueUrl string
}

type getQueueURLInput struct {
	QueueName              string `wire:"required"`
	QueueOwnerAWSAccountId string
}

type listQueuesInput struct {
	QueueNamePrefix string
	NextToken       string
	MaxResults      *integer
}

type listQueuesOutput struct {
	QueueUrls []string `json:",omitempty" query:"QueueUrl"`
	NextToken string   `json:",omitempty"`
}

type getQueueAttributesInput struct {
	QueueUrl       string   `wire:"required"`
	AttributeNames []string `query:"AttributeName"`
}

type getQueueAttributesOutput struct {
	Attributes map[string]string `json:",omitempty" query:"Attribute,Name,Value"`
}

type setQueueAttributesInput struct {
	QueueUrl   string            `wire:"required"`
	Attributes map[string]string `query:"Attribute,Name,Value" wire:"required"`
}

// attributeValue is a message attribute's or a message system attribute's value.
type attributeValue struct {
	StringValue      string   `json:",omitempty"`
	BinaryValue      []byte   `json:",omitempty"`
	StringListValues []string `json:",omitempty" query:"StringListValue"`
	BinaryListValues [][]byte `json:",omitempty" query:"BinaryListValue"`
	DataType         string
}

type sendMessageInput struct {
	QueueUrl                string `wire:"required"`
	MessageBody             string `wire:"required"`
	DelaySeconds            *integer
	MessageAttributes       map[string]attributeValue `query:"MessageAttribute,Name,Value"`
	MessageSystemAttributes map[string]attributeValue `query:"MessageSystemAttribute,Name,Value"`
	MessageDeduplicationId  *string                   // here "" is not the same as nothing
	MessageGroupId          *string
}

type sendMessageOutput struct {
	MD5OfMessageBody             string
	MD5OfMessageAttributes       string `json:",omitempty"`
	MD5OfMessageSystemAttributes string `json:",omitempty"`
	MessageId                    string
	SequenceNumber               string `json:",omitempty"`
}

type sendMessageBatchInput struct {
	QueueUrl string      `wire:"required"`
	Entries  []sendEntry `query:"SendMessageBatchRequestEntry"`
}

type sendEntry struct {
	Id                      string
	MessageBody             string
	DelaySeconds            *integer
	MessageAttributes       map[string]attributeValue `query:"MessageAttribute,Name,Value"`
	MessageSystemAttributes map[string]attributeValue `query:"MessageSystemAttribute,Name,Value"`
	MessageDeduplicationId  *string                   // here "" is not the same as nothing
	MessageGroupId          *string
}

type sendMessageBatchOutput struct {
	Successful []sendResultEntry  `json:",omitempty" query:"SendMessageBatchResultEntry"`
	Failed     []batchResultError `json:",omitempty" query:"BatchResultErrorEntry"`
}

type sendResultEntry struct {
	Id                           string
	MessageId                    string
	MD5OfMessageBody             string
	MD5OfMessageAttributes       string `json:",omitempty"`
	MD5OfMessageSystemAttributes string `json:",omitempty"`
	SequenceNumber               string `json:",omitempty"`
}

type batchResultError struct {
	Id          string
	SenderFault bool
	Code        string
	Message     string `json:",omitempty"`
}

type receiveMessageInput struct {
	QueueUrl                    string   `wire:"required"`
	AttributeNames              []string `query:"AttributeName"`
	MessageSystemAttributeNames []string `query:"MessageSystemAttributeName"`
	MessageAttributeNames       []string `query:"MessageAttributeName"`
	MaxNumberOfMessages         *integer
	VisibilityTimeout           *integer
	WaitTimeSeconds             *integer
	ReceiveRequestAttemptId     *string
}

type receiveMessageOutput struct {
	Messages []message `json:",omitempty" query:"Message"`
}

type message struct {
	MessageId              string
	ReceiptHandle          string
	MD5OfBody              string
	Body                   string
	Attributes             map[string]string         `json:",omitempty" query:"Attribute,Name,Value"`
	MD5OfMessageAttributes string                    `json:",omitempty"`
	MessageAttributes      map[string]attributeValue `json:",omitempty" query:"MessageAttribute,Name,Value"`
}

type deleteMessageInput struct {
	QueueUrl      string `wire:"required"`
	ReceiptHandle string `wire:"required"`
}

type deleteMessageBatchInput struct {
	QueueUrl string        `wire:"required"`
	Entries  []deleteEntry `query:"DeleteMessageBatchRequestEntry"`
}

type deleteEntry struct {
	Id            string
	ReceiptHandle string
}

type resultEntry struct{ Id string }

type deleteMessageBatchOutput struct {
	Successful []resultEntry      `json:",omitempty" query:"DeleteMessageBatchResultEntry"`
	Failed     []batchResultError `json:",omitempty" query:"BatchResultErrorEntry"`
}

type changeVisibilityInput struct {
	QueueUrl          string   `wire:"required"`
	ReceiptHandle     string   `wire:"required"`
	VisibilityTimeout *integer `wire:"required"`
}

type changeVisibilityBatchInput struct {
	QueueUrl string            `wire:"required"`
	Entries  []visibilityEntry `query:"ChangeMessageVisibilityBatchRequestEntry"`
}

type visibilityEntry struct {
	Id                string
	ReceiptHandle     string
	VisibilityTimeout *integer
}

type changeVisibilityBatchOutput struct {
	Successful []resultEntry      `json:",omitempty" query:"ChangeMessageVisibilityBatchResultEntry"`
	Failed     []batchResultError `json:",omitempty" query:"BatchResultErrorEntry"`
}

type addPermissionInput struct {
	QueueUrl      string   `wire:"required"`
	Label         string   `wire:"required"`
	AWSAccountIds []string `query:"AWSAccountId"`
	Actions       []string `query:"ActionName" wire:"required"`
}

type removePermissionInput struct {
	QueueUrl string `wire:"required"`
	Label    string `wire:"required"`
}

type tagQueueInput struct {
	QueueUrl string            `wire:"required"`
	Tags     map[string]string `query:"Tag,Key,Value,Tags" wire:"required"`
}

type untagQueueInput struct {
	QueueUrl string   `wire:"required"`
	TagKeys  []string `query:"TagKey,,,TagKeys" wire:"required"`
}

type listQueueTagsOutput struct {
	Tags map[string]string `json:",omitempty" query:"Tag,Key,Value"`
}

type listDeadLetterSourceQueuesInput struct {
	QueueUrl   string `wire:"required"`
	NextToken  string
	MaxResults *integer
}

type listDeadLetterSourceQueuesOutput struct {
	QueueUrls []string `json:"queueUrls" query:"QueueUrl"`
	NextToken string   `json:",omitempty"`
}

type startMessageMoveTaskInput struct {
	SourceArn                    string `wire:"required"`
	DestinationArn               string
	MaxNumberOfMessagesPerSecond *integer
}

type startMessageMoveTaskOutput struct {
	TaskHandle string
}

type cancelMessageMoveTaskInput struct {
	TaskHandle string `wire:"required"`
}

type cancelMessageMoveTaskOutput struct {
	ApproximateNumberOfMessagesMoved *long
}

type listMessageMoveTasksInput struct {
	SourceArn  string `wire:"required"`
	MaxResults *integer
}

type listMessageMoveTasksOutput struct {
	Results []moveTask `json:",omitempty" query:"ListMessageMoveTasksResultEntry"`
}

type moveTask struct {
	TaskHandle                        string `json:",omitempty"`
	Status                            string
	SourceArn                         string
	DestinationArn                    string   `json:",omitempty"`
	MaxNumberOfMessagesPerSecond      *integer `json:",omitempty"`
	ApproximateNumberOfMessagesMoved  *long
	ApproximateNumberOfMessagesToMove *long  `json:",omitempty"`
	FailureReason                     string `json:",omitempty"`
	StartedTimestamp                  long
}
