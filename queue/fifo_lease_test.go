package queue

import (
	"fmt"
	"testing"
	"time"
)

func FuzzLease(f *testing.F) {
	f.Add(lease{claims: []claim{{seq: 1, count: 2, until: time.Unix(3, 4)}, {seq: 5}}}.encode())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := decodeLease(1, s)
		if err != nil {
			return
		}
		if again, err := decodeLease(1, l.encode()); err != nil || fmt.Sprint(again) != fmt.Sprint(l) {
			t.Fatalf("%v: %+v became %+v", err, l, again)
		}
	})
}
