package aws

// The inputs and outputs of SNS. Field names are those on the wire. ARNs are not
// notnull because SNS has an error of its own for one that is missing.

type topicInput struct { // DeleteTopic, GetTopicAttributes
	TopicArn string
}

type createTopicInput struct {
	Name                 string            `wire:"notnull"`
	Attributes           map[string]string `query:"Attributes.entry,key,value"`
	Tags                 []tag             `query:"Tags.member"`
	DataProtectionPolicy string
}

type createTopicOutput struct {
	TopicArn string
}

type tag struct {
	Key   string `wire:"notnull"`
	Value string `wire:"notnull"`
}

type attributesOutput struct { // GetTopicAttributes, GetSubscriptionAttributes
	Attributes map[string]string `query:"Attributes.entry,key,value"`
}

type setTopicAttributesInput struct {
	TopicArn       string
	AttributeName  string `wire:"notnull"`
	AttributeValue string
}

type pageInput struct { // ListTopics, ListSubscriptions
	NextToken string
}

type listTopicsOutput struct {
	Topics    []createTopicOutput `query:"Topics.member"`
	NextToken string
}

type listSubscriptionsByTopicInput struct {
	TopicArn  string
	NextToken string
}

type listSubscriptionsOutput struct { // ListSubscriptions, ListSubscriptionsByTopic
	Subscriptions []subscription `query:"Subscriptions.member"`
	NextToken     string
}

type subscription struct {
	SubscriptionArn string
	Owner           string
	Protocol        string
	Endpoint        string
	TopicArn        string
}

type subscribeInput struct {
	TopicArn              string
	Protocol              string `wire:"notnull"`
	Endpoint              string
	Attributes            map[string]string `query:"Attributes.entry,key,value"`
	ReturnSubscriptionArn bool
}

type subscriptionOutput struct { // Subscribe, ConfirmSubscription
	SubscriptionArn string
}

type confirmSubscriptionInput struct {
	TopicArn                  string
	Token                     string `wire:"notnull"`
	AuthenticateOnUnsubscribe string
}

type subscriptionInput struct { // GetSubscriptionAttributes, Unsubscribe
	SubscriptionArn string
}

type setSubscriptionAttributesInput struct {
	SubscriptionArn string
	AttributeName   string `wire:"notnull"`
	AttributeValue  string
}

// publishedAttribute is a message attribute. Which of the two values is there,
// even empty, matters.
type publishedAttribute struct {
	DataType    string `wire:"notnull"`
	StringValue *string
	BinaryValue *[]byte
}

type publishInput struct {
	TopicArn               string
	TargetArn              string
	PhoneNumber            string
	Message                string `wire:"notnull"`
	Subject                *string
	MessageStructure       string
	MessageAttributes      map[string]publishedAttribute `query:"MessageAttributes.entry,Name,Value"`
	MessageDeduplicationId string
	MessageGroupId         string
}

type publishOutput struct {
	MessageId      string
	SequenceNumber string
}

type publishBatchInput struct {
	TopicArn                   string
	PublishBatchRequestEntries []publishEntry `query:"PublishBatchRequestEntries.member" wire:"notnull"`
}

type publishEntry struct {
	Id                     string `wire:"notnull"`
	Message                string `wire:"notnull"`
	Subject                *string
	MessageStructure       string
	MessageAttributes      map[string]publishedAttribute `query:"MessageAttributes.entry,Name,Value"`
	MessageDeduplicationId string
	MessageGroupId         string
}

type publishBatchOutput struct {
	Failed     []batchResultError   `query:"Failed.member"`
	Successful []publishResultEntry `query:"Successful.member"`
}

type publishResultEntry struct {
	Id             string
	MessageId      string
	SequenceNumber string
}

type topicPermissionInput struct {
	TopicArn     string
	Label        string   `wire:"notnull"`
	AWSAccountId []string `query:"AWSAccountId.member" wire:"notnull"`
	ActionName   []string `query:"ActionName.member" wire:"notnull"`
}

type removeTopicPermissionInput struct {
	TopicArn string
	Label    string `wire:"notnull"`
}

type resourceInput struct { // ListTagsForResource, GetDataProtectionPolicy
	ResourceArn string
}

type listTagsOutput struct {
	Tags []tag `query:"Tags.member"`
}

type tagResourceInput struct {
	ResourceArn string
	Tags        []tag `query:"Tags.member" wire:"notnull"`
}

type untagResourceInput struct {
	ResourceArn string
	TagKeys     []string `query:"TagKeys.member" wire:"notnull"`
}

type putDataProtectionPolicyInput struct {
	ResourceArn          string
	DataProtectionPolicy string `wire:"notnull"`
}

type dataProtectionPolicyOutput struct {
	DataProtectionPolicy string `wire:"notnull"`
}
