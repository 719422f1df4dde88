package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

const wakes = 200

// wake measures how soon a message reaches a long poll that waits for it: from the
// start of the send to the end of the receive.
func wake(s *server) error {
	if err := createQueue(s.addr, "q", ""); err != nil {
		return err
	}
	begun, ended := make(chan time.Time, wakes), make(chan error, 1)
	go func() {
		ended <- parallel(s.addr, 1, func(_ int, c *client) error {
			for i := range wakes {
				time.Sleep(10 * time.Millisecond) // until the poll stands
				t := time.Now()
				if _, err := c.call("SendMessage", fmt.Sprintf(`{"QueueUrl":"q","MessageBody":"%d"}`, i)); err != nil {
					return err
				}
				begun <- t
			}
			return nil
		})
	}()
	took := make([]time.Duration, 0, wakes)
	err := parallel(s.addr, 1, func(_ int, c *client) error {
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
			case err := <-ended:
				return errors.Join(errors.New("nobody sends any more"), err)
			}
		}
		return nil
	})
	if err = errors.Join(err, <-ended); err != nil {
		return err
	}
	slices.Sort(took)
	_, err = fmt.Printf("wake-up               of a long poll: median %.1f ms, p99 %.1f ms of %d\n",
		milliseconds(took[wakes/2]), milliseconds(took[wakes*99/100]), wakes)
	return err
}
