package console

import (
	"net/url"
	"strings"
	"time"
)

// topic is what the control plane says of one.
type topic struct {
	Name          string            `json:"name"`
	ARN           string            `json:"arn"`
	FIFO          bool              `json:"fifo"`
	Attributes    map[string]string `json:"attributes"`
	Tags          map[string]string `json:"tags"`
	Subscriptions []subscription    `json:"subscriptions"`
}

// Pending is how many subscriptions have not been confirmed.
func (t topic) Pending() (n int) {
	for _, s := range t.Subscriptions {
		if s.Pending {
			n++
		}
	}
	return n
}

type subscription struct {
	ID         string            `json:"id"`
	ARN        string            `json:"arn"`
	Protocol   string            `json:"protocol"`
	Endpoint   string            `json:"endpoint"`
	Pending    bool              `json:"pending"`
	Attributes map[string]string `json:"attributes"`
}

// State is the state in a word.
func (s subscription) State() string {
	if s.Pending {
		return "pending"
	}
	return "ok"
}

// Queue is the name of the queue that it leads to; "" when it does not.
func (s subscription) Queue() string {
	if s.Protocol != "sqs" {
		return ""
	}
	return s.Endpoint[strings.LastIndexByte(s.Endpoint, ':')+1:]
}

// Scope is what the filter policy looks at.
func (s subscription) Scope() string {
	if v := s.Attributes["FilterPolicyScope"]; v != "" {
		return v
	}
	return "MessageAttributes"
}

type topicList struct {
	paging

	Topics []topic
	Prefix string
	Form   url.Values
}

func (p *page) topics() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	return p.showTopics(url.Values{})
}

func (p *page) showTopics(form url.Values) error {
	out := topicList{paging: p.paging(), Prefix: p.query("q"), Form: form}
	in := out.query()
	if out.Prefix != "" {
		in.Set("prefix", out.Prefix)
	}
	var list struct {
		Topics     []topic `json:"topics"`
		TotalCount int     `json:"total_count"`
	}
	if err := p.get(own("namespaces", p.ns.Account, "topics"), in, &list); err != nil {
		return err
	}
	out.Topics, out.Total = list.Topics, list.TotalCount
	return p.show("topics", "Topics", out)
}

func (p *page) createTopic() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	name := strings.TrimSpace(p.form("name"))
	if p.form("kind") == "fifo" && !strings.HasSuffix(name, ".fifo") {
		name += ".fifo"
	}
	err := p.post(own("namespaces", p.ns.Account, "topics"), map[string]any{"name": name}, nil)
	if p.refused(err) {
		return p.showTopics(p.r.PostForm)
	}
	if err != nil {
		return err
	}
	p.notify("The topic "+name+" is ready.", p.cli("topic", "create", name))
	return p.redirect("ns", p.ns.Account, "topics", name)
}

// topicPath is the control plane's address of the topic of the path.
func (p *page) topicPath(parts ...string) string {
	return own(append([]string{"namespaces", p.ns.Account, "topics", p.r.PathValue("topic")}, parts...)...)
}

func (p *page) inTopic() (topic, error) {
	var t topic
	if err := p.inNamespace(); err != nil {
		return t, err
	}
	return t, p.get(p.topicPath(), nil, &t)
}

// topicPage is what all pages of a topic have.
type topicPage struct {
	Topic topic
	Tab   string
	Form  url.Values
	Data  any
}

func (p *page) showTopic(tab string, data any) error {
	t, err := p.inTopic()
	if err != nil {
		return err
	}
	form := p.r.PostForm
	if form == nil {
		form = url.Values{}
	}
	return p.show("topic-"+tab, t.Name, topicPage{Topic: t, Tab: tab, Form: form, Data: data})
}

func (p *page) topicOverview() error { return p.showTopic("overview", nil) }

func (p *page) publishForm() error { return p.showTopic("publish", sendForm{}.padded()) }

func (p *page) publish() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	f, subject := p.sent(), strings.TrimSpace(p.form("subject"))
	m, words, bad := f.wire()
	if bad != "" {
		p.refuse(bad)
		return p.showTopic("publish", f.padded())
	}
	m["message"] = m["body"]
	delete(m, "body")
	words = append([]string{"topic", "publish", p.r.PathValue("topic"), f.Body}, words...)
	if subject != "" {
		m["subject"] = subject
		words = append(words, "--subject", subject)
	}
	var out struct {
		ID string `json:"id"`
	}
	err := p.post(p.topicPath("publish"), m, &out)
	if p.refused(err) {
		return p.showTopic("publish", f.padded())
	}
	if err != nil {
		return err
	}
	p.notify("Published, id "+out.ID+".", p.cli(words...))
	return p.toTopic("publish")
}

func (p *page) toTopic(parts ...string) error {
	return p.redirect(append([]string{"ns", p.ns.Account, "topics", p.r.PathValue("topic")}, parts...)...)
}

func (p *page) subscribe() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	protocol, endpoint, policy := p.form("protocol"), strings.TrimSpace(p.form("endpoint")), strings.TrimSpace(p.form("filter"))
	words, attributes := []string{"topic", "subscribe", p.r.PathValue("topic"), endpoint, "--protocol", protocol}, map[string]string{}
	if policy != "" {
		attributes["FilterPolicy"], attributes["FilterPolicyScope"] = policy, p.form("scope")
		words = append(words, "--filter", policy, "--scope", p.form("scope"))
	}
	if p.form("raw") != "" {
		attributes["RawMessageDelivery"] = "true"
		words = append(words, "--raw")
	}
	var s subscription
	err := p.post(p.topicPath("subscriptions"), map[string]any{"protocol": protocol, "endpoint": endpoint, "attributes": attributes}, &s)
	if p.refused(err) {
		return p.showTopic("overview", nil)
	}
	if err != nil {
		return err
	}
	text := "Subscribed."
	if s.Pending {
		text = "Subscribed. The endpoint has been asked to confirm; until then it gets nothing."
	}
	p.notify(text, p.cli(words...))
	return p.toTopic()
}

func (p *page) confirm() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	token := strings.TrimSpace(p.form("token"))
	if u, err := url.Parse(token); err == nil && u.Query().Get("Token") != "" { // the whole link
		token = u.Query().Get("Token")
	}
	err := p.post(p.topicPath("confirm"), map[string]any{"token": token}, nil)
	if p.refused(err) {
		return p.showTopic("overview", nil)
	}
	if err != nil {
		return err
	}
	p.notify("The subscription is confirmed.", "")
	return p.toTopic()
}

func (p *page) deleteTopic() error {
	t, err := p.inTopic()
	if err != nil {
		return err
	}
	if !p.typed(t.Name) {
		return p.showTopic("danger", nil)
	}
	err = p.delete(p.topicPath())
	if p.refused(err) {
		return p.showTopic("danger", nil)
	}
	if err != nil {
		return err
	}
	p.notify("The topic "+t.Name+" is deleted.", p.cli("topic", "rm", "--yes", t.Name))
	return p.redirect("ns", p.ns.Account, "topics")
}

func (p *page) topicDanger() error { return p.showTopic("danger", nil) }

// attempt is one attempt at a delivery.
type attempt struct {
	At         *time.Time `json:"at"`
	MessageID  string     `json:"message_id"`
	Kind       string     `json:"kind"`
	Number     int        `json:"number"`
	Status     int        `json:"status"`
	Error      string     `json:"error"`
	DurationMS int64      `json:"duration_ms"`
	Outcome    string     `json:"outcome"`
}

// subscriptionPage is one subscription with its log and what was tried on its filter.
type subscriptionPage struct {
	Topic    topic
	Sub      subscription
	Attempts []attempt
	Form     url.Values
	Test     *filterTest
}

func (p *page) subscriptionPath(parts ...string) string {
	return p.topicPath(append([]string{"subscriptions", p.r.PathValue("subscription")}, parts...)...)
}

func (p *page) showSubscription(test *filterTest) error {
	t, err := p.inTopic()
	if err != nil {
		return err
	}
	out := subscriptionPage{Topic: t, Test: test, Form: p.r.PostForm}
	if out.Form == nil {
		out.Form = url.Values{}
	}
	if err := p.get(p.subscriptionPath(), nil, &out.Sub); err != nil {
		return err
	}
	var list struct {
		Attempts []attempt `json:"attempts"`
	}
	if err := p.get(p.subscriptionPath("attempts"), nil, &list); err != nil {
		return err
	}
	out.Attempts = list.Attempts
	return p.show("subscription", "Subscription of "+t.Name, out)
}

func (p *page) subscription() error { return p.showSubscription(nil) }

func (p *page) toSubscription() error {
	return p.toTopic("subscriptions", p.r.PathValue("subscription"))
}

// changeSubscription changes the attributes that the form has.
func (p *page) changeSubscription() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	var now subscription
	if err := p.get(p.subscriptionPath(), nil, &now); err != nil {
		return err
	}
	attributes := map[string]string{}
	for _, name := range []string{"FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy"} {
		v := strings.TrimSpace(p.form("a." + name))
		if p.r.PostForm.Has("a."+name) && v != now.Attributes[name] && !sameJSON(v, now.Attributes[name]) {
			attributes[name] = v
		}
	}
	if attributes["FilterPolicy"] == "" && now.Attributes["FilterPolicy"] == "" {
		delete(attributes, "FilterPolicyScope") // nothing to look at
	}
	if len(attributes) == 0 {
		p.refuse("Nothing is different from what the subscription has.")
		return p.showSubscription(nil)
	}
	err := p.call("PATCH", p.subscriptionPath(), map[string]any{"attributes": attributes}, nil)
	if p.refused(err) {
		return p.showSubscription(nil)
	}
	if err != nil {
		return err
	}
	p.notify(plural(len(attributes), "attribute")+" changed. It counts for what is published from now on.", "")
	return p.toSubscription()
}

// askAgain asks the endpoint once more to confirm, by subscribing it as it is.
func (p *page) askAgain() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	var s subscription
	if err := p.get(p.subscriptionPath(), nil, &s); err != nil {
		return err
	}
	attributes := map[string]string{}
	for _, name := range []string{"FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy"} {
		if v := s.Attributes[name]; v != "" && v != "false" {
			attributes[name] = v
		}
	}
	err := p.post(p.topicPath("subscriptions"), map[string]any{"protocol": s.Protocol, "endpoint": s.Endpoint, "attributes": attributes}, nil)
	if p.refused(err) {
		return p.showSubscription(nil)
	}
	if err != nil {
		return err
	}
	p.notify("The endpoint is asked again to confirm.", p.cli("topic", "subscribe", p.r.PathValue("topic"), s.Endpoint, "--protocol", s.Protocol))
	return p.toSubscription()
}

func (p *page) unsubscribe() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	if err := p.delete(p.subscriptionPath()); err != nil {
		return err
	}
	p.notify("The subscription is removed.", p.cli("topic", "unsubscribe", p.r.PathValue("topic"), p.r.PathValue("subscription")))
	return p.toTopic()
}

// filterTest is a filter policy, a message, and whether they match.
type filterTest struct {
	Policy, Scope, Message string
	Attributes             []attributeRow
	Matches, Asked         bool
	CLI                    string
}

func (p *page) testFilter() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	f := p.sent()
	test := &filterTest{Policy: p.form("policy"), Scope: p.form("scope"), Message: p.form("message"), Attributes: f.padded().Rows}
	m, words, bad := f.wire()
	if bad != "" {
		p.refuse(bad)
		return p.showSubscription(test)
	}
	var out struct {
		Matches bool `json:"matches"`
	}
	in := map[string]any{"policy": test.Policy, "scope": test.Scope, "message": test.Message, "attributes": m["attributes"]}
	err := p.post(own("filter-test"), in, &out)
	if p.refused(err) {
		return p.showSubscription(test)
	}
	if err != nil {
		return err
	}
	test.Matches, test.Asked = out.Matches, true
	test.CLI = command(append([]string{"topic", "test-filter", test.Policy, test.Message, "--scope", test.Scope}, words...)...)
	return p.showSubscription(test)
}
