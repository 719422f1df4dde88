package policy

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const guest = "project-00000000-0000-0000-0000-000000000001"
	topic := Access{Service: "sns.amazonaws.com", SourceARN: "arn:scw:sns:fr-par:" + guest + ":t", Secure: true}
	for name, c := range map[string]struct {
		statements string
		a          Access
		want       Verdict
	}{
		"nobody is named":                {`{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"*"}`, Access{}, Silent},
		"everyone":                       {`{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage"}`, Access{}, Allowed},
		"everyone in a list":             {`{"Effect":"Allow","Principal":{"AWS":["x","*"]},"Action":"SQS:*"}`, Access{}, Allowed},
		"by account":                     {`{"Effect":"Allow","Principal":{"AWS":"GUEST"},"Action":"SQS:SendMessage"}`, Access{}, Allowed},
		"by root":                        {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::GUEST:root"},"Action":"SQS:SendMessage"}`, Access{}, Allowed},
		"a user of the account":          {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::GUEST:user/x"},"Action":"SQS:SendMessage"}`, Access{}, Silent},
		"another account":                {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"*"}`, Access{}, Silent},
		"another action":                 {`{"Effect":"Allow","Principal":"*","Action":["SQS:ReceiveMessage"]}`, Access{}, Silent},
		"an action's beginning":          {`{"Effect":"Allow","Principal":"*","Action":"sqs:send*"}`, Access{}, Allowed},
		"not this action":                {`{"Effect":"Allow","Principal":"*","NotAction":"sqs:SendMessage"}`, Access{}, Silent},
		"not this principal":             {`{"Effect":"Deny","NotPrincipal":{"AWS":"GUEST"},"Action":"*"}`, Access{}, Silent},
		"another queue":                  {`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:scw:sqs:fr-par:AOWNER:other"}`, Access{}, Silent},
		"this queue in AWS's partition":  {`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:sqs:fr-par:AOWNER:q"}`, Access{}, Allowed},
		"deny wins":                      {`{"Effect":"Allow","Principal":"*","Action":"*"},{"Effect":"Deny","Principal":{"AWS":"GUEST"},"Action":"*"}`, Access{}, Refused},
		"an unknown condition":           {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"ArnLike":{"aws:SourceArn":"*"}}}`, Access{}, Silent},
		"an unknown condition if exists": {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"ArnLikeIfExists":{"aws:SourceArn":"x"}}}`, Access{}, Allowed},
		"the absence of a key":           {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"Null":{"aws:SourceArn":true}}}`, Access{}, Allowed},
		"insecure is denied":             {`{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`, Access{}, Refused},
		"secure is not":                  {`{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`, Access{Secure: true}, Silent},
		"an account by condition":        {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringLike":{"aws:PrincipalAccount":"project-*"}}}`, Access{}, Allowed},
		"an account excluded":            {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":["GUEST"]}}}`, Access{}, Silent},
		"an unknown operator":            {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"Sounds":{"aws:PrincipalAccount":"GUEST"}}}`, Access{}, Silent},
		"a service by its name":          {`{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage"}`, topic, Allowed},
		"a service for that topic":       {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:fr-par:GUEST:t"}}}`, topic, Allowed},
		"a service for another topic":    {`{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"ArnNotEquals":{"aws:SourceArn":"arn:aws:sns:fr-par:GUEST:other"}}}`, topic, Refused},
		"but for this one":               {`{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"ArnNotLike":{"aws:SourceArn":"arn:aws:sns:*:*:t"}}}`, topic, Silent},
		"a service is not its account":   {`{"Effect":"Deny","Principal":{"AWS":"GUEST"},"Action":"*"}`, topic, Silent},
		"a service of that account":      {`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"aws:SourceAccount":"GUEST"}}}`, topic, Allowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, reason := Check(`{"Version":"2012-10-17","Statement":[` + strings.ReplaceAll(c.statements, "GUEST", guest) + `]}`)
			if reason != "" {
				t.Fatal(reason)
			}
			c.a.Account, c.a.Action = guest, "SendMessage"
			if got := Judge(text, "sqs", "arn:scw:sqs:fr-par:AOWNER:q", c.a); got != c.want {
				t.Errorf("verdict %d, want %d", got, c.want)
			}
		})
	}
}

func TestWildcard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"a*c", "abbc", true},
		{"a*c", "abcd", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*b*", "abc", true},
		{"**", "x", true},
		{strings.Repeat("*a", 50), strings.Repeat("a", 2000) + "b", false},
	} {
		if got := wildcard(c.pattern, c.s); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.s, got)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","Principal":{"AWS":["x"]},"Action":["sqs:*"],"Condition":{"Bool":{"aws:SecureTransport":false}}}}`)
	f.Add(`{"Statement":[{"Principal":[1]}]}`)
	f.Fuzz(func(t *testing.T, v string) {
		text, reason := Check(v)
		if reason != "" {
			return
		}
		if again, reason := Check(text); reason != "" || again != text {
			t.Errorf("%q became %q, then %q, %s", v, text, again, reason)
		}
		Judge(text, "sqs", "arn:scw:sqs:fr-par:a:q", Access{Account: "a", Action: "SendMessage"})
	})
}
