// Package emulators checks, over HTTP and in both protocols, what servers that pose
// as SQS most often get wrong: each test is one entry of that list, and the last
// word is AWS's own client where it looks at the answer itself.
package emulators

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const region = "us-east-1"

// members is a request or a part of one, in the words of JSON.
type members map[string]any

// wire is one of the two protocols, written by hand.
type wire struct {
	name   string
	encode func(t *testing.T, action string, in members) (body []byte, header http.Header)
	decode func(t *testing.T, body []byte, out *output)
}

var wires = []wire{
	{"JSON", encodeJSON, func(t *testing.T, body []byte, out *output) {
		t.Helper()
		if len(body) == 0 {
			return
		}
		if err := json.Unmarshal(body, out); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
	}},
	{"Query", encodeQuery, func(t *testing.T, body []byte, out *output) {
		t.Helper()
		var a struct {
			Result    output `xml:",any"`
			RequestID string `xml:"ResponseMetadata>RequestId"`
		}
		if err := xml.Unmarshal(body, &a); err != nil || a.RequestID == "" {
			t.Fatalf("%v in %s", err, body)
		}
		*out = a.Result
	}},
}

func encodeJSON(t *testing.T, action string, in members) ([]byte, http.Header) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return body, http.Header{"X-Amz-Target": {"AmazonSQS." + action}, "Content-Type": {"application/x-amz-json-1.0"}}
}

// queryNames are the members that have another name in Query; maps have two more,
// for key and value.
var queryNames = map[string][]string{
	"Attributes": {"Attribute", "Name", "Value"}, "MessageAttributes": {"MessageAttribute", "Name", "Value"},
	"MessageSystemAttributes": {"MessageSystemAttribute", "Name", "Value"}, "Tags": {"Tag", "Key", "Value"}, "tags": {"Tag", "Key", "Value"},
	"AttributeNames": {"AttributeName"}, "MessageAttributeNames": {"MessageAttributeName"}, "MessageSystemAttributeNames": {"MessageSystemAttributeName"},
	"TagKeys": {"TagKey"}, "AWSAccountIds": {"AWSAccountId"}, "Actions": {"ActionName"},
}

func encodeQuery(_ *testing.T, action string, in members) ([]byte, http.Header) {
	form := url.Values{"Action": {action}, "Version": {"2012-11-05"}}
	addForm(form, action, "", in)
	return []byte(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
}

func addForm(form url.Values, action, prefix string, in members) {
	for name, v := range in {
		as := queryNames[name]
		if name == "Entries" {
			as = []string{action + "RequestEntry"}
		}
		if as == nil {
			as = []string{name}
		}
		switch v := v.(type) {
		case []string:
			for i, s := range v {
				form.Set(prefix+as[0]+"."+strconv.Itoa(i+1), s)
			}
		case []members:
			for i, m := range v {
				addForm(form, action, prefix+as[0]+"."+strconv.Itoa(i+1)+".", m)
			}
		case members:
			i := 0
			for key, value := range v {
				i++
				entry := prefix + as[0] + "." + strconv.Itoa(i) + "."
				form.Set(entry+as[1], key)
				if m, ok := value.(members); ok {
					addForm(form, action, entry+as[2]+".", m)
				} else {
					form.Set(entry+as[2], fmt.Sprint(value))
				}
			}
		default:
			form.Set(prefix+as[0], fmt.Sprint(v))
		}
	}
}

// pairs is a map, which in Query is a list of elements.
type pairs map[string]string

func (p *pairs) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	var e struct{ Name, Key, Value string }
	if err := d.DecodeElement(&e, &start); err != nil {
		return err
	}
	if *p == nil {
		*p = pairs{}
	}
	(*p)[e.Name+e.Key] = e.Value
	return nil
}

type attributeValue struct{ DataType, StringValue, BinaryValue string } // BinaryValue in base64

type attributes map[string]attributeValue

func (a *attributes) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	var e struct {
		Name  string
		Value attributeValue
	}
	if err := d.DecodeElement(&e, &start); err != nil {
		return err
	}
	if *a == nil {
		*a = attributes{}
	}
	(*a)[e.Name] = e.Value
	return nil
}

type message struct {
	MessageID              string `json:"MessageId" xml:"MessageId"`
	ReceiptHandle          string
	MD5OfBody              string
	Body                   string
	Attributes             pairs `xml:"Attribute"`
	MD5OfMessageAttributes string
	MessageAttributes      attributes `xml:"MessageAttribute"`
}

type success struct {
	ID string `json:"Id" xml:"Id"`
	sent
}

type failure struct {
	ID          string `json:"Id" xml:"Id"`
	SenderFault bool
	Code        string
	Message     string
}

type sent struct {
	MessageID                    string `json:"MessageId" xml:"MessageId"`
	MD5OfMessageBody             string
	MD5OfMessageAttributes       string
	MD5OfMessageSystemAttributes string
	SequenceNumber               string
}

// output holds the members of all outputs that these tests look at.
type output struct {
	sent

	QueueURL   string   `json:"QueueUrl" xml:"-"`
	QueueURLs  []string `json:"QueueUrls" xml:"QueueUrl"`
	SourceURLs []string `json:"queueUrls" xml:"-"`
	NextToken  string
	Attributes pairs     `xml:"Attribute"`
	Tags       pairs     `xml:"Tag"`
	Messages   []message `xml:"Message"`
	Successful []success `xml:"-"`
	SentOK     []success `json:"-" xml:"SendMessageBatchResultEntry"`
	DeletedOK  []success `json:"-" xml:"DeleteMessageBatchResultEntry"`
	ChangedOK  []success `json:"-" xml:"ChangeMessageVisibilityBatchResultEntry"`
	Failed     []failure `xml:"BatchResultErrorEntry"`
	TaskHandle string
	Results    []struct{ Status string } `xml:"ListMessageMoveTasksResultEntry"`
}

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	code    string // of an error, as Query has it
	shape   string // of an error, JSON only
	message string
	out     output
}

// client is the holder of a key who speaks one protocol.
type client struct {
	wire

	p    *mnqtest.Process
	keys mnqtest.Keys
}

func (c *client) call(t *testing.T, action string, in members) answer {
	t.Helper()
	return c.at(t, "/", action, in)
}

// at posts to a path.
func (c *client) at(t *testing.T, path, action string, in members) answer {
	t.Helper()
	body, header := c.encode(t, action, in)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.p.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	return c.send(t, r, body)
}

func (c *client) sign(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	sum := sha256.Sum256(body)
	who := aws.Credentials{AccessKeyID: c.keys.Access, SecretAccessKey: c.keys.Secret}
	if err := v4.NewSigner().SignHTTP(context.WithoutCancel(t.Context()), who, r, hex.EncodeToString(sum[:]), "sqs", region, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func (c *client) send(t *testing.T, r *http.Request, body []byte) answer {
	t.Helper()
	c.sign(t, r, body)
	return c.unsigned(t, r)
}

func (c *client) unsigned(t *testing.T, r *http.Request) answer {
	t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	switch {
	case a.status == http.StatusOK:
		c.decode(t, a.body, &a.out)
		a.out.Successful = slices.Concat(a.out.Successful, a.out.SentOK, a.out.DeletedOK, a.out.ChangedOK)
		if a.out.QueueURL == "" && len(a.out.QueueURLs) == 1 {
			a.out.QueueURL = a.out.QueueURLs[0] // one element and a list of one look alike in XML
		}
	case c.name == "JSON":
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(a.body, &e); err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
		a.shape, a.message = e.Type, e.Message
		a.code, _, _ = strings.Cut(a.header.Get("X-Amzn-Query-Error"), ";")
	default:
		var e struct {
			Error     struct{ Type, Code, Message string }
			RequestID string `xml:"RequestId"`
		}
		if err := xml.Unmarshal(a.body, &e); err != nil || e.RequestID == "" {
			t.Fatalf("%v in %s", err, a.body)
		}
		a.code, a.message = e.Error.Code, e.Error.Message
	}
	return a
}

// must makes a call that has to succeed.
func (c *client) must(t *testing.T, action string, in members) output {
	t.Helper()
	a := c.call(t, action, in)
	if a.status != http.StatusOK {
		t.Fatalf("%s: %d %s %s", action, a.status, a.code, a.message)
	}
	return a.out
}

// statusOf has the codes whose HTTP status is not 400.
var statusOf = map[string]int{
	"ReceiptHandleIsInvalid": 404, "ResourceNotFoundException": 404, "OverLimit": 403, "AWS.SimpleQueueService.PurgeQueueInProgress": 403,
}

// refused makes a call that has to fail in just this way.
func (c *client) refused(t *testing.T, action string, in members, code, text string) {
	t.Helper()
	a, status := c.call(t, action, in), cmp.Or(statusOf[code], http.StatusBadRequest)
	if a.status != status || a.code != code || !strings.Contains(a.message, text) {
		t.Errorf("%s: got %d %s %q, want %d %s with %q", action, a.status, a.code, a.message, status, code, text)
	}
}

func (c *client) create(t *testing.T, name string, attributes members) string {
	t.Helper()
	return c.must(t, "CreateQueue", members{"QueueName": name, "Attributes": attributes}).QueueURL
}

func (c *client) arn(name string) string {
	return "arn:aws:sqs:" + region + ":" + c.keys.Access + ":" + name
}

// receive takes one message, waiting for it.
func (c *client) receive(t *testing.T, queue string, more members) message {
	t.Helper()
	in := members{"QueueUrl": queue, "WaitTimeSeconds": 20, "AttributeNames": []string{"All"}, "MessageAttributeNames": []string{"All"}}
	maps.Copy(in, more)
	got := c.must(t, "ReceiveMessage", in).Messages
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	return got[0]
}

// sdk is AWS's own client for the same key.
func (c *client) sdk() *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: &c.p.URL, Region: region, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(c.keys.Access, c.keys.Secret, ""),
	})
}

// TestEmulators runs the list in both protocols, each time with an account of its own.
func TestEmulators(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--fsync", "interval"}})
	for i, item := range slices.Concat(onTheWire, aboutMessages) {
		for j, w := range wires {
			t.Run(item.name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				item.run(t, &client{w, p, mnqtest.Keys{Access: fmt.Sprintf("%012d", 1+i*len(wires)+j), Secret: "test"}})
			})
		}
	}
}

type item struct {
	name string
	run  func(t *testing.T, c *client)
}
