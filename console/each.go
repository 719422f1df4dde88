package console

import (
	"encoding/json"
	"io"
	"sync"
)

// each calls f for every item, at most n at a time.
func each[T any](list []T, n int, f func(i int, v T)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, n)
	for i, v := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i, v)
		})
	}
	wg.Wait()
}

// writeLine writes v as one line of JSON.
func writeLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
