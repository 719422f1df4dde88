package rest

import (
	"context"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/topic"
)

// topicOnWire is a topic.
type topicOnWire struct {
	Name          string               `json:"name"`
	ARN           string               `json:"arn"`
	FIFO          bool                 `json:"fifo"`
	Attributes    map[string]string    `json:"attributes" doc:"as SNS names them"`
	Tags          map[string]string    `json:"tags"`
	Subscriptions []subscriptionOnWire `json:"subscriptions" nullable:"false" doc:"at most 1000"`
}

// subscriptionOnWire is a subscription.
type subscriptionOnWire struct {
	ID         string            `json:"id"`
	ARN        string            `json:"arn"`
	Protocol   string            `json:"protocol"`
	Endpoint   string            `json:"endpoint"`
	Pending    bool              `json:"pending" doc:"its endpoint has not confirmed it"`
	Attributes map[string]string `json:"attributes"`
}

type topicList struct {
	Topics     []topicOnWire `json:"topics" nullable:"false"`
	TotalCount int           `json:"total_count"`
}

const maxSubscriptions = 1000 // of a topic, shown

func (a *API) registerTopics() {
	const topics, one = "/namespaces/{namespace_id}/topics", "/namespaces/{namespace_id}/topics/{topic_name}"
	handle(a, operation{
		id: "openmnq.ListTopics", method: http.MethodGet, path: topics,
		summary: "List the SNS topics of a namespace with their subscriptions, by name", noun: "topic",
	}, a.listTopics)
	handle(a, operation{
		id: "openmnq.CreateTopic", method: http.MethodPost, path: topics,
		summary: "Create an SNS topic, or find the one that has the same attributes", noun: "topic", action: "create", large: true,
	}, a.createTopic)
	handle(a, operation{
		id: "openmnq.GetTopic", method: http.MethodGet, path: one,
		summary: "Get a topic with its subscriptions", noun: "topic",
	}, a.getTopic)
	remove(a, operation{
		id: "openmnq.DeleteTopic", method: http.MethodDelete, path: one,
		summary: "Delete a topic with its subscriptions and what has not been delivered yet", noun: "topic", action: "delete",
	}, a.deleteTopic)
	handle(a, operation{
		id: "openmnq.Publish", method: http.MethodPost, path: one + "/publish",
		summary: "Publish a message to all subscriptions of a topic", noun: "message", action: "create", data: true, large: true,
	}, a.publish)
	handle(a, operation{
		id: "openmnq.Subscribe", method: http.MethodPost, path: one + "/subscriptions",
		summary: "Subscribe an endpoint to a topic", noun: "subscription", action: "create", large: true,
	}, a.subscribe)
	remove(a, operation{
		id: "openmnq.Unsubscribe", method: http.MethodDelete, path: one + "/subscriptions/{subscription_id}",
		summary: "Remove a subscription", noun: "subscription", action: "delete",
	}, a.unsubscribe)
	handle(a, operation{
		id: "openmnq.TestFilter", method: http.MethodPost, path: "/filter-test",
		summary: "Try a filter policy on a message; nothing is stored or sent", noun: "filter", large: true,
	}, a.testFilter)
}

// topicWire describes a topic; one that is gone meanwhile is NotFound.
func (a *API) topicWire(ctx context.Context, ns mnq.Namespace, name string) (topicOnWire, error) {
	t, err := a.topics.Find(ctx, ns, name)
	if err != nil {
		return topicOnWire{}, err
	}
	attributes, err := t.Attributes(ctx, ns)
	if err != nil {
		return topicOnWire{}, err
	}
	out := topicOnWire{Name: t.Name(), ARN: t.ARN(ns), FIFO: t.FIFO(), Attributes: attributes, Tags: map[string]string{}, Subscriptions: []subscriptionOnWire{}}
	maps.Copy(out.Tags, t.Tags())
	list, _ := a.topics.Subscriptions(ns, name, "", maxSubscriptions)
	for _, s := range list {
		w, err := a.subscriptionWire(ctx, ns, s)
		switch {
		case mnq.IsNotFound(err): // removed meanwhile
		case err != nil:
			return topicOnWire{}, err
		default:
			out.Subscriptions = append(out.Subscriptions, w)
		}
	}
	return out, nil
}

func (a *API) subscriptionWire(ctx context.Context, ns mnq.Namespace, s topic.Subscription) (subscriptionOnWire, error) {
	attributes, err := a.topics.SubscriptionAttributes(ctx, ns, s.Topic, s.ID)
	return subscriptionOnWire{
		ID: s.ID, ARN: s.ARN(), Protocol: s.Protocol, Endpoint: s.Endpoint, Pending: s.Pending, Attributes: attributes,
	}, err
}

type listTopicsInput struct {
	PageQuery

	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a topic's ARN"`
	Prefix      string `query:"prefix" maxLength:"256" doc:"only names that begin with it"`
}

func (a *API) listTopics(ctx context.Context, who mnq.Identity, in *listTopicsInput) (topicList, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return topicList{}, err
	}
	names, _ := a.topics.List(ns, "", math.MaxInt)
	names = filter(names, func(name string) bool { return strings.HasPrefix(name, in.Prefix) })
	out := topicList{Topics: []topicOnWire{}, TotalCount: len(names)}
	for _, name := range cut(names, in.PageQuery) {
		t, err := a.topicWire(ctx, ns, name)
		switch {
		case mnq.IsNotFound(err): // deleted meanwhile
		case err != nil:
			return topicList{}, err
		default:
			out.Topics = append(out.Topics, t)
		}
	}
	return out, nil
}

type createTopicInput struct {
	NamespaceID string `path:"namespace_id" maxLength:"64"`
	Body        struct {
		Name       string            `json:"name" minLength:"1" maxLength:"256" doc:"ends in .fifo for a FIFO topic"`
		Attributes map[string]string `json:"attributes" required:"false" doc:"as SNS names them; FifoTopic may be left out"`
		Tags       map[string]string `json:"tags" required:"false"`
	}
}

func (a *API) createTopic(ctx context.Context, who mnq.Identity, in *createTopicInput) (topicOnWire, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return topicOnWire{}, err
	}
	if err := offersQueues(ns); err != nil {
		return topicOnWire{}, err
	}
	attributes := in.Body.Attributes
	if strings.HasSuffix(in.Body.Name, ".fifo") {
		if attributes == nil {
			attributes = map[string]string{}
		}
		attributes["FifoTopic"] = "true"
	}
	if _, err := a.topics.Create(ctx, ns, topic.NewTopic{Name: in.Body.Name, Attributes: attributes, Tags: in.Body.Tags}); err != nil {
		return topicOnWire{}, err
	}
	return a.topicWire(ctx, ns, in.Body.Name)
}

// TopicPath names a topic.
type TopicPath struct {
	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a topic's ARN"`
	TopicName   string `path:"topic_name" maxLength:"256"`
}

func (a *API) topic(ctx context.Context, who mnq.Identity, at TopicPath) (*topic.Topic, mnq.Namespace, error) {
	ns, err := a.anyNamespace(who, at.NamespaceID)
	if err != nil {
		return nil, ns, err
	}
	t, err := a.topics.Find(ctx, ns, at.TopicName)
	return t, ns, as(err, "topic", at.TopicName)
}

func (a *API) getTopic(ctx context.Context, who mnq.Identity, in *TopicPath) (topicOnWire, error) {
	_, ns, err := a.topic(ctx, who, *in)
	if err != nil {
		return topicOnWire{}, err
	}
	t, err := a.topicWire(ctx, ns, in.TopicName)
	return t, as(err, "topic", in.TopicName)
}

func (a *API) deleteTopic(ctx context.Context, who mnq.Identity, in *TopicPath) error {
	_, ns, err := a.topic(ctx, who, *in)
	if err != nil {
		return err
	}
	return as(a.topics.Delete(ctx, ns, in.TopicName), "topic", in.TopicName)
}

type publishInput struct {
	TopicPath

	Body struct {
		Message         string                 `json:"message"`
		Subject         string                 `json:"subject" required:"false"`
		Structure       string                 `json:"structure" required:"false" enum:"json," doc:"json: the message is an object of texts by protocol"`
		Attributes      map[string]attributeIn `json:"attributes" required:"false"`
		GroupID         string                 `json:"group_id" required:"false"`
		DeduplicationID string                 `json:"deduplication_id" required:"false"`
	}
}

func (a *API) publish(ctx context.Context, who mnq.Identity, in *publishInput) (sentOnWire, error) {
	t, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return sentOnWire{}, err
	}
	m := topic.Publication{
		Message: in.Body.Message, Subject: in.Body.Subject, Structure: in.Body.Structure, Attributes: attributesOf(in.Body.Attributes),
		GroupID: in.Body.GroupID, DedupID: in.Body.DeduplicationID, SenderID: who.AccessKey,
	}
	done := t.Publish(ctx, ns, []topic.Publication{m})[0]
	if done.Err != nil {
		return sentOnWire{}, as(done.Err, "topic", in.TopicName)
	}
	return sentOnWire{ID: done.MessageID, SequenceNumber: done.SequenceNumber}, nil
}

type subscribeInput struct {
	TopicPath

	Body struct {
		Protocol   string            `json:"protocol" minLength:"1" doc:"sqs, http, https or lambda"`
		Endpoint   string            `json:"endpoint" minLength:"1" maxLength:"2048" doc:"a URL; for sqs the ARN or the name of a queue of the same namespace"`
		Attributes map[string]string `json:"attributes" required:"false" doc:"as SNS names them, such as FilterPolicy"`
	}
}

func (a *API) subscribe(ctx context.Context, who mnq.Identity, in *subscribeInput) (subscriptionOnWire, error) {
	t, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return subscriptionOnWire{}, err
	}
	endpoint := in.Body.Endpoint
	if in.Body.Protocol == "sqs" && !strings.HasPrefix(endpoint, "arn:") {
		q, err := a.queues.Queue(ns, endpoint)
		if err != nil {
			return subscriptionOnWire{}, as(err, "queue", endpoint)
		}
		endpoint = q.ARN(ns)
	}
	s, err := t.Subscribe(ctx, ns, topic.NewSubscription{
		Protocol: in.Body.Protocol, Endpoint: endpoint, Attributes: in.Body.Attributes,
		Principal: "arn:aws:iam::" + ns.Account() + ":user/" + who.AccessKey,
	})
	if err != nil {
		return subscriptionOnWire{}, as(err, "topic", in.TopicName)
	}
	return a.subscriptionWire(ctx, ns, s)
}

type unsubscribeInput struct {
	TopicPath

	SubscriptionID string `path:"subscription_id" format:"uuid"`
}

func (a *API) unsubscribe(ctx context.Context, who mnq.Identity, in *unsubscribeInput) error {
	_, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return err
	}
	id := canonical(in.SubscriptionID)
	if _, err := a.topics.Subscription(ctx, ns, in.TopicName, id); err != nil {
		return as(err, "subscription", id)
	}
	return a.topics.Unsubscribe(ctx, ns, in.TopicName, id)
}

type testFilterInput struct {
	Body struct {
		Policy     string                 `json:"policy" minLength:"1" maxLength:"262144" doc:"the filter policy, JSON as text"`
		Scope      string                 `json:"scope" required:"false" enum:"MessageAttributes,MessageBody" default:"MessageAttributes"`
		Message    string                 `json:"message" required:"false"`
		Attributes map[string]attributeIn `json:"attributes" required:"false"`
	}
}

type filterVerdict struct {
	Matches bool `json:"matches"`
}

func (a *API) testFilter(_ context.Context, _ mnq.Identity, in *testFilterInput) (filterVerdict, error) {
	scope, err := topic.ParseScope(in.Body.Scope)
	if err != nil {
		return filterVerdict{}, err
	}
	f, err := topic.CompileFilter(in.Body.Policy, scope)
	if err != nil {
		return filterVerdict{}, err
	}
	if scope == topic.ScopeBody {
		return filterVerdict{f == nil || f.MatchBody(topic.ParseBody(in.Body.Message))}, nil
	}
	attributes := map[string]topic.Attribute{}
	list := attributesOf(in.Body.Attributes)
	if err := topic.CheckAttributes(slices.DeleteFunc(slices.Clone(list), func(a queue.Attribute) bool { return a.DataType == "String.Array" })); err != nil {
		return filterVerdict{}, err
	}
	for _, at := range list {
		v := topic.Attribute{Type: at.DataType, Value: string(at.Value)}
		if at.Binary() {
			v = topic.Attribute{Type: at.DataType, Binary: at.Value}
		}
		attributes[at.Name] = v
	}
	return filterVerdict{f.MatchAttributes(attributes)}, nil
}
