package aws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// TestTableMatchesTheSDK holds names and members of every operation to those of
// AWS's own client, so that neither can drift.
func TestTableMatchesTheSDK(t *testing.T) {
	t.Parallel()
	methods := reflect.TypeFor[*sdk.Client]()
	var theirs []string
	for m := range methods.Methods() {
		if m.Name != "Options" {
			theirs = append(theirs, m.Name)
		}
	}
	var ours []string
	for _, op := range sqsOperations() {
		ours = append(ours, op.name)
		m, ok := methods.MethodByName(op.name)
		if !ok || op.run == nil {
			continue
		}
		matchMembers(t, op.name+".in", op.in, m.Type.In(2).Elem())
		matchMembers(t, op.name+".out", op.out, m.Type.Out(0).Elem())
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("operations differ: %s", diff)
	}
}

func matchMembers(t *testing.T, path string, ours, theirs reflect.Type) {
	t.Helper()
	var want []string
	for f := range theirs.Fields() {
		if f.IsExported() && f.Name != "ResultMetadata" {
			want = append(want, f.Name)
		}
	}
	var got []string
	for f := range ours.Fields() {
		got = append(got, f.Name)
		their, ok := theirs.FieldByName(f.Name)
		if !ok {
			continue
		}
		if a, b := kindName(f.Type), kindName(their.Type); a != b {
			t.Errorf("%s.%s is a %s, want a %s", path, f.Name, a, b)
		}
		if a, b := element(f.Type), element(their.Type); a.Kind() == reflect.Struct && b.Kind() == reflect.Struct {
			matchMembers(t, path+"."+f.Name, a, b)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", path, diff)
	}
}

func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

// kindName is what a member is in the model.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindName(t.Elem())
	case reflect.Int32, reflect.Int64:
		return "number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "blob"
		}
		return "list of " + kindName(t.Elem())
	case reflect.Map:
		return "map of " + kindName(t.Elem())
	default:
		return t.Kind().String()
	}
}

func TestOperationsDescribeTheTable(t *testing.T) {
	t.Parallel()
	ops := Operations()
	if len(ops) != 23+42 {
		t.Errorf("%d operations", len(ops))
	}
	i := slices.IndexFunc(ops, func(o Operation) bool { return o.Name == "OptInPhoneNumber" })
	if diff := cmp.Diff(Operation{Service: mnq.ServiceSNS, Name: "OptInPhoneNumber", Permission: "can_manage", Refusal: "InvalidAction"}, ops[i]); diff != "" {
		t.Error(diff)
	}
	i = slices.IndexFunc(ops, func(o Operation) bool { return o.Name == "CreateQueue" })
	want := Operation{
		Service: mnq.ServiceSQS, Name: "CreateQueue", Permission: "can_manage", Supported: true,
		Input: []string{"QueueName", "Attributes", "tags"}, Output: []string{"QueueUrl"},
	}
	if diff := cmp.Diff(want, ops[i]); diff != "" {
		t.Error(diff)
	}
}

func decodeForm(t testing.TB, form string, in any) error {
	t.Helper()
	r := &request{
		http: httptest.NewRequest(http.MethodPost, "http://mq.test/", nil), body: []byte(form),
		service: mnq.ServiceSQS, proto: queryProtocol{},
	}
	var err error
	if r.name, err = r.proto.action(r); err != nil {
		return err
	}
	return r.proto.decode(r, in)
}

func TestQueryDecodes(t *testing.T) {
	t.Parallel()
	t.Run("GapsAndDisorderByIndex", func(t *testing.T) {
		t.Parallel()
		var in sendMessageBatchInput
		err := decodeForm(t, "Action=A&SendMessageBatchRequestEntry.10.Id=z&SendMessageBatchRequestEntry.2.Id=a"+
			"&SendMessageBatchRequestEntry.2.MessageAttribute.7.Name=n&SendMessageBatchRequestEntry.2.MessageAttribute.7.Value.DataType=Binary"+
			"&SendMessageBatchRequestEntry.2.MessageAttribute.7.Value.BinaryValue=AP8%3D&SendMessageBatchRequestEntry.02.Id=ignored", &in)
		want := []sendEntry{
			{Id: "a", MessageAttributes: map[string]attributeValue{"n": {DataType: "Binary", BinaryValue: []byte{0, 255}}}}, {Id: "z"},
		}
		if diff := cmp.Diff(want, in.Entries); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
	t.Run("AMapWithoutIndexAsOfOne", func(t *testing.T) {
		t.Parallel()
		var in createQueueInput
		err := decodeForm(t, "Action=A&QueueName=q&Attribute.Name=DelaySeconds&Attribute.Value=5&Tag.1.Key=k", &in)
		want := createQueueInput{QueueName: "q", Attributes: map[string]string{"DelaySeconds": "5"}, Tags: map[string]string{"k": ""}}
		if diff := cmp.Diff(want, in); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
	t.Run("WrappedListsAndMaps", func(t *testing.T) {
		t.Parallel()
		type tag struct{ Key, Value string }
		var in struct {
			Attributes map[string]string `query:"Attributes.entry,key,value"`
			Tags       []tag             `query:"Tags.member"`
			On         bool
		}
		err := decodeForm(t, "Action=A&Attributes.entry.1.key=k&Attributes.entry.1.value=v&Tags.member.1.Key=a&Tags.member.1.Value=b&On=true", &in)
		if err != nil || in.Attributes["k"] != "v" || len(in.Tags) != 1 || in.Tags[0] != (tag{"a", "b"}) || !in.On {
			t.Error(err, in)
		}
	})
	t.Run("ANameAloneAsAnEmptyList", func(t *testing.T) {
		t.Parallel()
		var in struct {
			AttributeNames []string `query:"AttributeName"`
			Tags           []string `query:"Tags.member" wire:"notnull"`
		}
		if err := decodeForm(t, "Action=A&AttributeName=&Tags=", &in); err != nil || len(in.AttributeNames) != 0 || len(in.Tags) != 0 {
			t.Error(err, in)
		}
		if err := decodeForm(t, "Action=A&AttributeName.1=&Tags.member.1=", &in); err != nil || len(in.AttributeNames) != 1 || len(in.Tags) != 1 {
			t.Error(err, in)
		}
	})
	t.Run("NamesWhatMustNotBeNull", func(t *testing.T) {
		t.Parallel()
		type value struct {
			DataType    string `wire:"notnull"`
			StringValue *string
			BinaryValue *[]byte
		}
		type entry struct {
			ID         string           `query:"Id" json:"Id" wire:"notnull"`
			Attributes map[string]value `query:"MessageAttributes.entry,Name,Value" json:"MessageAttributes"`
		}
		var in struct {
			Message    string           `wire:"notnull"`
			Attributes map[string]value `query:"MessageAttributes.entry,Name,Value" json:"MessageAttributes"`
			Entries    []entry          `query:"Entries.member"`
			One        *entry
		}
		null := func(form, text string) {
			t.Helper()
			if f := failureOf(mnq.ServiceSNS, decodeForm(t, "Action=A&"+form, &in)); f.code != "ValidationError" || f.status != 400 || !strings.Contains(f.msg, text) {
				t.Errorf("%s: %+v", form, f)
			}
		}
		null("x=", "1 validation error detected: Value null at 'message' failed to satisfy constraint: Member must not be null")
		null("Message=&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.StringValue=x", "Value null at 'messageAttributes.a.member.dataType' failed")
		null("Message=&MessageAttributes.entry.1.Name=a", "Value null at 'messageAttributes.a.member.dataType' failed")
		null("Message=&Entries.member.7.Id=x&Entries.member.8.MessageAttributes.entry.1.Name=a", "2 validation errors detected: "+
			"Value null at 'entries.2.member.id' failed to satisfy constraint: Member must not be null; "+
			"Value null at 'entries.2.member.messageAttributes.a.member.dataType' failed to satisfy constraint: Member must not be null")
		null("Message=&One.MessageAttributes.entry.1.Name=a", "Value null at 'one.id'")
		many := &strings.Builder{}
		for i := range 900 {
			fmt.Fprintf(many, "&Entries.member.%d.x=", i)
		}
		if err := decodeForm(t, "Action=A"+many.String(), &in); !strings.Contains(err.Error(), "901 validation errors") || len(err.Error()) > 2000 {
			t.Error(err)
		}
		err := decodeForm(t, "Action=A&Message=&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.DataType=&MessageAttributes.entry.1.Value.BinaryValue=", &in)
		if v := in.Attributes["a"]; err != nil || v.StringValue != nil || v.BinaryValue == nil {
			t.Error(err, in)
		}
	})
	t.Run("RefusesWhatIsOfAnotherType", func(t *testing.T) {
		t.Parallel()
		wantCode(t, decodeForm(t, "Action=A&DelaySeconds=x", &sendMessageInput{}), "SerializationException", "DelaySeconds")
		wantCode(t, decodeForm(t, "Action=A&DelaySeconds=99999999999", &sendMessageInput{}), "SerializationException", "DelaySeconds")
		wantCode(t, decodeForm(t, "Action=A&MessageAttribute.1.Name=a&MessageAttribute.1.Value.BinaryValue=*", &sendMessageInput{}), "SerializationException", "")
	})
	t.Run("RefusesWhatIsNoForm", func(t *testing.T) {
		t.Parallel()
		wantCode(t, decodeForm(t, "Action=%zz", &none{}), "MalformedQueryString", "")
		wantCode(t, decodeForm(t, "Action=%ff", &none{}), "MalformedQueryString", "")
		wantCode(t, decodeForm(t, strings.Repeat("a=b&", 1001), &none{}), "MalformedQueryString", "1000")
		wantCode(t, decodeForm(t, "Version=2012-11-05", &none{}), "MissingAction", "Action")
	})
	t.Run("IgnoresWhatIsTooDeep", func(t *testing.T) {
		t.Parallel()
		if err := decodeForm(t, "Action=A&"+strings.Repeat("a.", 5000)+"=x", &none{}); err != nil {
			t.Error(err)
		}
	})
}

func TestQueryEncodes(t *testing.T) {
	t.Parallel()
	r := &request{id: "id", service: mnq.ServiceSQS, name: "ReceiveMessage"}
	cases := map[string]any{
		"<ReceiveMessageResult><Message><MessageId>1</MessageId><Body>a&#xD;\n\t&lt;&amp;#xA;</Body>" + `<Attribute><Name>A</Name><Value>1</Value></Attribute><Attribute><Name>B</Name><Value></Value></Attribute>` +
			`<MessageAttribute><Name>n</Name><Value><BinaryValue>AP8=</BinaryValue><DataType>Binary</DataType></Value></MessageAttribute></Message></ReceiveMessageResult>`: &receiveMessageOutput{
			Messages: []message{{
				MessageId: "1", Body: "a\r\n\t<&#xA;", Attributes: map[string]string{"B": "", "A": "1"},
				MessageAttributes: map[string]attributeValue{"n": {DataType: "Binary", BinaryValue: []byte{0, 255}}},
			}},
		},
		`<ReceiveMessageResult></ReceiveMessageResult>`: &receiveMessageOutput{},
		``: &none{},
		`<ReceiveMessageResult><Topics></Topics><Attributes><entry><key>k</key><value>v</value></entry></Attributes></ReceiveMessageResult>`: &struct {
			Topics     []resultEntry     `query:"Topics.member"`
			Attributes map[string]string `query:"Attributes.entry,key,value"`
		}{Attributes: map[string]string{"k": "v"}},
	}
	for want, out := range cases {
		body, contentType, err := queryProtocol{}.encode(r, out)
		got := string(body)
		whole := `<?xml version="1.0"?><ReceiveMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/">` + want +
			`<ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></ReceiveMessageResponse>`
		if err != nil || contentType != "text/xml" || got != whole {
			t.Errorf("%v\n got %s\nwant %s", err, got, whole)
		}
	}
}

func TestJSONErrorsReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	body, _ := jsonProtocol{}.encodeFailure(nil, failureOf(mnq.ServiceSQS, outOfRange(21, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")), http.Header{})
	const want = `{"__type":"com.amazon.coral.service#InvalidParameterValueException",` +
		`"message":"Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."}`
	if string(body) != want {
		t.Errorf("got %s, want %s", body, want)
	}
}

func TestAResultWithoutMembersIsWritten(t *testing.T) {
	t.Parallel()
	r := &request{id: "id", service: mnq.ServiceSNS, name: "TagResource"}
	const want = `<?xml version="1.0"?><TagResourceResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><TagResourceResult></TagResourceResult>` +
		`<ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></TagResourceResponse>`
	if body, _, err := (queryProtocol{}).encode(r, &empty{}); err != nil || string(body) != want {
		t.Errorf("%v %s", err, body)
	}
}

func decodeJSON(body string, in any) error {
	return jsonProtocol{}.decode(&request{body: []byte(body)}, in)
}

func TestJSONDecodes(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"QueueUrl":"u","MessageBody":"b","DelaySeconds":5,"Unknown":[{}],"MessageGroupId":null,"MessageAttributes":{"a":{"DataType":"Binary","BinaryValue":"AP8="}}}`,
		`{"QueueUrl":"u","MessageBody":"b","DelaySeconds":"5","MessageAttributes":{"a":{"DataType":"Binary","BinaryValue":"AP8="}}}`,
	} {
		var in sendMessageInput
		want := sendMessageInput{
			QueueUrl: "u", MessageBody: "b", DelaySeconds: new(integer(5)),
			MessageAttributes: map[string]attributeValue{"a": {DataType: "Binary", BinaryValue: []byte{0, 255}}},
		}
		if err := decodeJSON(body, &in); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, in); diff != "" {
			t.Error(diff)
		}
	}
	for _, body := range []string{"", " ", "{}", "null"} {
		if err := decodeJSON(body, &sendMessageInput{}); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
	for _, body := range []string{
		`[]`, `"x"`, `{`, `{} {}`, `{"MessageBody":5}`, `{"DelaySeconds":"x"}`, `{"DelaySeconds":1.5}`, `{"DelaySeconds":true}`, `{"DelaySeconds":99999999999}`,
		`{"MessageAttributes":[]}`, `{"MessageAttributes":{"a":{"BinaryValue":"*"}}}`, "{\"MessageBody\":\"\xff\"}",
		`{"MessageBody":"\ud800"}`, `{"MessageBody":"\ude00\ud83d"}`, `{"MessageBody":"\ud83d\u0041"}`,
	} {
		wantCode(t, decodeJSON(body, &sendMessageInput{}), "SerializationException", "")
	}
	for body, want := range map[string]string{`{"MessageBody":"\ud83d\ude00"}`: "\U0001F600", `{"MessageBody":"\\ud800"}`: `\ud800`} {
		var in sendMessageInput
		if err := decodeJSON(body, &in); err != nil || in.MessageBody != want {
			t.Errorf("%s: %q, %v", body, in.MessageBody, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"0": true, "-1.5": true, "+7": true, "1e126": true, "1E-128": true, "0e999": true, strings.Repeat("9", 38): true,
		"": false, "x": false, "1e127": false, "1e-129": false, "1e999999999": false, strings.Repeat("9", 39): false,
		"0x10": false, "Inf": false, "NaN": false, "1_0": false, "1e": false, "--1": false, ".": false,
	} {
		if queue.ValidNumber(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

// TestMessageAttributesMD5 has the example of the AWS SDKs' own tests: the
// algorithm is documented, the sum was computed by hand with md5sum.
func TestMessageAttributesMD5(t *testing.T) {
	t.Parallel()
	got, err := newAttributes(map[string]attributeValue{"timestamp": {DataType: "Number", StringValue: "1493147359900"}})
	if err != nil {
		t.Fatal(err)
	}
	if sum := attributesMD5(got); sum != "235c5c510d26fb653d073faed50ae77c" {
		t.Error(sum)
	}
	if sum := attributesMD5(nil); sum != "" {
		t.Error(sum)
	}
}

func FuzzQueryCodec(f *testing.F) {
	f.Add("Action=SendMessage&MessageBody=x&MessageAttribute.1.Name=a&MessageAttribute.1.Value.StringValue=b")
	f.Add("Action=SendMessage&MessageAttribute.Name=a&MessageAttribute.9999999999.Name=b&DelaySeconds=1")
	f.Add("Action=A&SendMessageBatchRequestEntry.2.Id=1&SendMessageBatchRequestEntry.1.MessageAttribute.3.Value.BinaryValue=AA")
	f.Add("Action=CreateTopic&Name=t&Attributes.entry.1.key=k&Attributes.entry.1.value=v&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.x.Key=")
	f.Add("Action=Publish&Message=&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.DataType=Binary&MessageAttributes.entry.1.Value.BinaryValue=AA%3D%3D")
	f.Add("Action=A&PublishBatchRequestEntries.member.2.Id=1&PublishBatchRequestEntries.member.2.MessageAttributes.entry.1.Name=a&PublishBatchRequestEntries=")
	f.Fuzz(func(t *testing.T, form string) {
		var in struct {
			send    sendMessageInput
			batch   sendMessageBatchInput
			create  createTopicInput
			publish publishInput
			entries publishBatchInput
			tags    tagResourceInput
		}
		for _, v := range []any{&in.send, &in.batch, &in.create, &in.publish, &in.entries, &in.tags} {
			err := decodeForm(t, form, v)
			for _, service := range []mnq.Service{mnq.ServiceSQS, mnq.ServiceSNS} {
				if err != nil && failureOf(service, err).receiver() {
					t.Error(err)
				}
			}
			if err != nil {
				continue
			}
			if err := checkRequired(reflect.ValueOf(v).Elem()); err != nil && failureOf(mnq.ServiceSQS, err).name != "MissingParameter" {
				t.Error(err)
			}
		}
		// What was read is written as XML that can be read.
		for service, out := range map[mnq.Service]any{
			mnq.ServiceSQS: &receiveMessageOutput{Messages: []message{{Body: in.send.MessageBody, MessageAttributes: in.send.MessageAttributes}}},
			mnq.ServiceSNS: &in.create,
		} {
			body, _, err := queryProtocol{}.encode(&request{id: "id", service: service, name: "A"}, out)
			if err != nil {
				t.Fatal(err)
			}
			root := readXML(t, body)
			var again createTopicInput
			if service != mnq.ServiceSNS || !xmlText(in.create.Name) {
				continue
			}
			if err := decodeStruct(root.at("AResult", "1"), reflect.ValueOf(&again).Elem()); err != nil || again.Name != in.create.Name || len(again.Tags) != len(in.create.Tags) {
				t.Errorf("%+v became %+v, %v", in.create, again, err)
			}
		}
	})
}

// xmlText reports whether XML can hold s as it is.
func xmlText(s string) bool { return queue.ValidText(s) && !strings.Contains(s, "\r") }

func FuzzJSONCodec(f *testing.F) {
	f.Add(`{"QueueUrl":"u","MessageBody":"\ud83d\ude00","DelaySeconds":"5"}`)
	f.Add(`{"MessageAttributes":{"a":{"DataType":"Binary","BinaryValue":"AP8="}},"Entries":[null,{"Id":"x"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		var in sendMessageInput
		if err := decodeJSON(body, &in); err != nil {
			if f := failureOf(mnq.ServiceSQS, err); f.name != "SerializationException" {
				t.Error(err)
			}
			return
		}
		encoded, _, err := jsonProtocol{}.encode(nil, &in)
		if err != nil {
			t.Fatal(err)
		}
		var again sendMessageInput
		if err := json.Unmarshal(encoded, &again); err != nil {
			t.Fatal(err)
		}
		if in.MessageBody != again.MessageBody || in.QueueUrl != again.QueueUrl {
			t.Errorf("%q became %q", in.MessageBody, again.MessageBody)
		}
	})
}

func BenchmarkDecodeSend(b *testing.B) {
	in := &sendMessageInput{QueueUrl: "http://mq.test/a/q", MessageBody: strings.Repeat("x", 1024), MessageAttributes: map[string]attributeValue{
		"a": {DataType: "String", StringValue: "x"},
	}, MessageSystemAttributes: map[string]attributeValue{}, DelaySeconds: new(integer), MessageDeduplicationId: new(string), MessageGroupId: new(string)}
	for _, w := range wires {
		b.Run("Protocol="+w.name, func(b *testing.B) {
			req := &request{http: w.request(b, "SendMessage", in), proto: queryProtocol{}, service: mnq.ServiceSQS}
			if w.name == "JSON" {
				req.proto = jsonProtocol{}
			}
			if err := (&Handler{}).readBody(req); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if req.name, err = req.proto.action(req); err != nil {
					b.Fatal(err)
				}
				if err := req.proto.decode(req, new(sendMessageInput)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
