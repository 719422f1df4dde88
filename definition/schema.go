package definition

// Schema is the JSON schema of the sections queues and topics, by section.
func Schema() map[string]any {
	text := map[string]any{"type": "string"}
	tags := object("Tags, by key.", nil, map[string]any{"type": []string{"string", "number", "boolean"}})
	queueName := map[string]any{"type": "string", "pattern": `^[A-Za-z0-9_-]{1,75}(\.fifo)?$|^[A-Za-z0-9_-]{76,80}$`}
	deadLetter := object("Where messages go that were received too often.", map[string]any{
		"queue": queueName, "max-receive-count": map[string]any{"type": "integer", "minimum": 1, "maximum": 1000},
	}, false)
	deadLetter["required"] = []string{"queue", "max-receive-count"}
	queue := object("A queue; a name that ends in .fifo makes it a FIFO queue.", map[string]any{
		"attributes": attributeSchema("as SQS names them", QueueAttributes), "dead-letter": deadLetter, "tags": tags,
	}, false)
	subscription := object("A subscription: to a queue, or to an endpoint of a protocol.", map[string]any{
		"queue": queueName, "protocol": text, "endpoint": text, "dead-letter-queue": queueName,
		"attributes": attributeSchema("as SNS names them", SubscriptionAttributes),
	}, false)
	subscription["oneOf"] = []any{
		map[string]any{"required": []string{"queue"}},
		map[string]any{"required": []string{"protocol", "endpoint"}},
	}
	topic := object("A topic; a name that ends in .fifo makes it a FIFO topic.", map[string]any{
		"attributes": attributeSchema("as SNS names them", TopicAttributes), "tags": tags,
		"subscriptions": map[string]any{"type": "array", "items": subscription},
	}, false)
	for _, o := range []map[string]any{queue, topic} {
		o["type"] = []string{"object", "null"}
	}
	queues := object("Queues to create with --dev, by name.", nil, queue)
	queues["propertyNames"] = queueName
	topics := object("Topics to create with --dev, by name.", nil, topic)
	topics["propertyNames"] = map[string]any{"pattern": `^[A-Za-z0-9_-]{1,251}(\.fifo)?$|^[A-Za-z0-9_-]{252,256}$`}
	return map[string]any{SectionQueues: queues, SectionTopics: topics}
}

func object(description string, properties map[string]any, others any) map[string]any {
	o := map[string]any{"type": "object", "description": description, "additionalProperties": others}
	if properties != nil {
		o["properties"] = properties
	}
	return o
}

// attributeSchema lets documents be written as YAML or as the JSON that goes over the wire.
func attributeSchema(description string, names []string) map[string]any {
	properties := map[string]any{}
	for _, n := range names {
		properties[n] = map[string]any{"type": []string{"string", "number", "boolean", "object"}}
	}
	return object("Attributes, "+description+".", properties, false)
}
