package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const wakes = 200

// wake measures how soon a message reaches a long poll that waits for it: from the
// start of the send to the end of the receive.
func wake(s *server) error {
	if err := createQueue(s.addr, "q", ""); err != nil {
		return err
	}
	begun := make(chan time.Time)
	took := make([]time.Duration, 0, wakes)
	over := make(chan struct{}) // one of the two has come to its end
	end := sync.OnceFunc(func() { close(over) })
	var both errgroup.Group
	both.Go(func() error {
		defer end()
		return parallel(s.addr, 1, func(_ int, c *client) error {
			for i := range wakes {
				time.Sleep(10 * time.Millisecond) // until the poll stands
				t := time.Now()
				if _, err := c.call("SendMessage", fmt.Sprintf(`{"QueueUrl":"q","MessageBody":"%d"}`, i)); err != nil {
					return err
				}
				select {
				case begun <- t:
				case <-over:
					return nil
				}
			}
			return nil
		})
	})
	both.Go(func() error {
		defer end()
		return parallel(s.addr, 1, func(_ int, c *client) error {
			for range wakes {
				body, err := c.call("ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":20}`)
				if err != nil {
					return err
				}
				if len(handles(body)) != 1 {
					return errors.New("the long poll ended without the message")
				}
				now := time.Now()
				select {
				case t := <-begun:
					took = append(took, now.Sub(t))
				case <-over:
					return nil
				}
			}
			return nil
		})
	})
	if err := both.Wait(); err != nil {
		return err
	}
	slices.Sort(took)
	_, err := fmt.Printf("wake-up               of a long poll: median %.1f ms, p99 %.1f ms of %d\n",
		milliseconds(took[wakes/2]), milliseconds(took[wakes*99/100]), wakes)
	return err
}
