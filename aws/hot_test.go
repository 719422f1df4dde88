package aws

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hotInputs are new inputs of the operations that are read without reflection.
func hotInputs() []scannable {
	return []scannable{
		new(sendMessageInput), new(sendMessageBatchInput), new(receiveMessageInput), new(deleteMessageInput), new(deleteMessageBatchInput),
	}
}

// FuzzHotDecoder holds what is read without reflection to what encoding/json reads,
// and what it must not take: the text must be JSON without halves of surrogate pairs.
func FuzzHotDecoder(f *testing.F) {
	for _, seed := range hotTexts {
		f.Add(seed.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, in := range hotInputs() {
			s := scanner{text: text}
			if !in.scan(&s) || !s.end() {
				continue
			}
			want := reflect.New(reflect.TypeOf(in).Elem()).Interface()
			if err := json.Unmarshal([]byte(text), want); err != nil {
				t.Errorf("%T took %q: %v", in, text, err)
			}
			if diff := cmp.Diff(want, any(in)); diff != "" {
				t.Errorf("%q: %s", text, diff)
			}
			if !pairedSurrogates([]byte(text)) {
				t.Errorf("%T took half a pair: %q", in, text)
			}
		}
	})
}

// hotTexts are inputs, and whether the first of hotInputs that they are for takes them.
var hotTexts = []struct {
	text string
	hot  bool
}{
	{`{"QueueUrl":"u","MessageBody":"b"}`, true},
	{` { "QueueUrl" : "u" , "MessageBody":"b\"\\\/\b\f\n\r\té\u00e9\u20AC\u0000" ,"DelaySeconds":-12}` + "\n", true},
	{`{"QueueUrl":"u","MessageBody":"b","MessageGroupId":"","MessageAttributes":{"a":{"StringValue":"x","DataType":"String"},"b":{}}}`, true},
	{`{"QueueUrl":"u","Entries":[{"Id":"1","MessageBody":"b","MessageDeduplicationId":"d"},{}]}`, true},
	{`{"Entries":[]}`, true},
	{`{"QueueUrl":"u","Entries":[{"Id":"1","ReceiptHandle":"h"}]}`, true},
	{`{"QueueUrl":"u","ReceiptHandle":"h"}`, true},
	{`{"QueueUrl":"u","AttributeNames":["All"],"MessageAttributeNames":[],"MaxNumberOfMessages":10,"WaitTimeSeconds":0}`, true},
	{`{}`, true},
	{`{"queueurl":"u"}`, false},
	{`{"QueueUrl":"u","QueueUrl":"v"}`, false},
	{`{"QueueUrl":null}`, false},
	{`{"QueueUrl":"u","MessageBody":"\ud83d\ude00"}`, false},
	{`{"QueueUrl":"u","MessageBody":"\ud83d"}`, false},
	{`{"QueueUrl":"u","MessageBody":"` + "\x01" + `"}`, false},
	{`{"QueueUrl":"u","MessageBody":"` + "\xff" + `"}`, false},
	{`{"QueueUrl":"u","MessageBody":"\"}`, false},
	{`{"QueueUrl":"u","MessageBody":"\x"}`, false},
	{`{"QueueUrl":"u","MessageBody":"b","DelaySeconds":"5"}`, false},
	{`{"QueueUrl":"u","MessageBody":"b","DelaySeconds":05}`, false},
	{`{"QueueUrl":"u","MessageBody":"b","DelaySeconds":1e1}`, false},
	{`{"QueueUrl":"u","MessageBody":"b","DelaySeconds":- 1}`, false},
	{`{"QueueUrl":"u","MessageBody":"b","DelaySeconds":9999999999}`, false},
	{`{"QueueUrl":"u",}`, false},
	{`{"QueueUrl":"u"} x`, false},
	{`{"QueueUrl":"u"`, false},
	{`["QueueUrl"]`, false},
	{"{}\x00", false},
	{"{\"DelaySeconds\":\x005}", false},
	{`{"QueueUrl":"u","MessageBody":"b","MessageAttributes":{"a":{"BinaryValue":"AA==","DataType":"Binary"}}}`, false},
}

// TestHotDecoder says which requests do without reflection, so that the fuzz test
// compares something.
func TestHotDecoder(t *testing.T) {
	t.Parallel()
	for _, c := range hotTexts {
		taken := false
		for _, in := range hotInputs() {
			s := scanner{text: c.text}
			taken = taken || in.scan(&s) && s.end()
		}
		if taken != c.hot {
			t.Errorf("%q: %v", c.text, taken)
		}
	}
}

// TestHotDecoderLeavesNothing: what it read before it gave up is not in the input.
func TestHotDecoderLeavesNothing(t *testing.T) {
	t.Parallel()
	var in receiveMessageInput
	if err := decodeJSON(`{"MaxNumberOfMessages":7,"maxNumberOfMessages":null,"QueueUrl":"u"}`, &in); err != nil || in.MaxNumberOfMessages != nil || in.QueueUrl != "u" {
		t.Errorf("%+v, %v", in, err)
	}
}

// FuzzHotEncoder holds what is written without reflection to encoding/json's bytes.
func FuzzHotEncoder(f *testing.F) {
	f.Add("a", "b", []byte("c"), byte(0xFF))
	f.Add("<&>\u2028\u2029\x7f", "\"\\\b\f\n\r\t\x00\x1f", []byte{}, byte(0))
	f.Add("\xff\xc0é€😀\uFFFD", "", []byte{0}, byte(0x55))
	f.Fuzz(func(t *testing.T, a, b string, c []byte, given byte) {
		opt := func(bit int, s string) string { return strings.Repeat(s, int(given>>bit&1)) }
		m := message{
			MessageId: a, ReceiptHandle: b, MD5OfBody: a, Body: b, MD5OfMessageAttributes: opt(0, a),
			Attributes: map[string]string{a: b, b: a, "x": opt(1, a)}, MessageAttributes: map[string]attributeValue{
				a: {DataType: b, StringValue: opt(2, a)}, b: {DataType: a, BinaryValue: c},
			},
		}
		send := sendMessageOutput{a, opt(3, b), opt(4, a), b, opt(5, a)}
		failed := []batchResultError{{a, given&1 == 0, b, opt(6, a)}}
		for _, out := range []appendable{
			&send, &sendMessageOutput{}, &sendMessageBatchOutput{}, &sendMessageBatchOutput{Failed: failed},
			&sendMessageBatchOutput{Successful: []sendResultEntry{{a, b, a, opt(1, b), opt(2, a), opt(3, b)}, {Id: a}}, Failed: failed},
			&deleteMessageBatchOutput{Successful: []resultEntry{{a}, {b}}}, &deleteMessageBatchOutput{Failed: append(failed, failed...)},
			&receiveMessageOutput{}, &receiveMessageOutput{Messages: []message{m}}, &receiveMessageOutput{Messages: []message{{}, m}},
		} {
			want, err := encodeJSON(out)
			if got := out.appendJSON(nil); err != nil || string(got) != string(want) {
				t.Errorf("%T\n got %q\nwant %q (%v)", out, got, want, err)
			}
		}
	})
}
