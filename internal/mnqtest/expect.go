package mnqtest

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/smithy-go"
)

// Within tries f every 20 ms until it succeeds, and fails the test when it has
// not by the deadline that the product promises.
func Within(t testing.TB, d time.Duration, f func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	give := time.Now().Add(d)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(give) {
			t.Fatalf("not within %v: %v", d, err)
		}
		<-tick.C
	}
}

// ErrorCode is the code of an AWS SDK's error, "" for none.
func ErrorCode(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// WantCode returns an error unless err is an API error with the code.
func WantCode(err error, code string) error {
	if got := ErrorCode(err); got != code {
		return fmt.Errorf("got %w, want %s", err, code)
	}
	return nil
}

// Name returns a name that is used once.
func Name(testing.TB) string { return "n" + strconv.FormatInt(names.Add(1), 10) }

var names atomic.Int64
