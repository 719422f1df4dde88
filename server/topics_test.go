package server

import (
	"fmt"
	"testing"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"": "[]", "10.1.0.0/16": "[10.1.0.0/16]", "10.1.0.0/16, fd00:1::/32": "[10.1.0.0/16 fd00:1::/32]", "127.0.0.1/32": "[127.0.0.1/32]",
	} {
		if got, err := networks(list); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v %v", list, got, err)
		}
	}
	for _, list := range []string{"10.1.0.0", "10.1.0.0/16,", ",", "10.1.2.3/16", "example.com/8", "10.1.0.0/16;10.2.0.0/16"} {
		if got, err := networks(list); err == nil {
			t.Errorf("%q is taken for %v", list, got)
		}
	}
}
