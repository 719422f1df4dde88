package faults

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// flood is what the flooding process is told, and what it answers.
type flood struct {
	Address     string
	Connections int
	Seconds     int
	Request     []byte // complete, signed, the same again and again: each is a message of its own

	Answers  map[string]int // by status and error code
	Broken   int            // connections that were closed
	Finished bool
}

const floodVariable = "MNQ_TEST_FLOOD"

// TestMain is the flooding process when it is told to be: a process has too few files
// for both ends of so many connections.
func TestMain(m *testing.M) {
	if in := os.Getenv(floodVariable); in != "" {
		var f flood
		err := json.Unmarshal([]byte(in), &f)
		if err == nil {
			f.run()
			err = json.NewEncoder(os.Stdout).Encode(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func (f *flood) run() {
	ctx, stop := context.WithTimeout(context.Background(), time.Duration(f.Seconds)*time.Second)
	defer stop()
	var mu sync.Mutex
	f.Answers = map[string]int{}
	var all sync.WaitGroup
	for i := range f.Connections {
		all.Go(func() {
			counts, broken := f.connection(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			f.Broken += broken
			for k, n := range counts {
				f.Answers[k] += n
			}
		})
	}
	all.Wait()
	f.Finished = true
}

// connection sends the request again and again over one connection.
func (f *flood) connection(ctx context.Context, i int) (answers map[string]int, broken int) {
	answers = map[string]int{}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%100))}, Timeout: 10 * time.Second}
	for ctx.Err() == nil {
		c, err := dialer.DialContext(ctx, "tcp", f.Address)
		if err != nil {
			broken++
			wait(ctx, time.Second)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(time.Duration(f.Seconds+60) * time.Second))
		r := bufio.NewReaderSize(c, 2048)
		for ctx.Err() == nil {
			if _, err = c.Write(f.Request); err != nil {
				break
			}
			var res *http.Response
			if res, err = http.ReadResponse(r, nil); err != nil {
				break
			}
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			code, _, _ := strings.Cut(res.Header.Get("X-Amzn-Query-Error"), ";")
			answers[strings.TrimSpace(strconv.Itoa(res.StatusCode)+" "+code)]++
			if err != nil || res.Close {
				break
			}
			if res.StatusCode != http.StatusOK {
				wait(ctx, 100*time.Millisecond) // what Retry-After would have waited ten times as long for
			}
		}
		if err != nil && ctx.Err() == nil {
			broken++
		}
		_ = c.Close()
	}
	return answers, broken
}

// sendRequest is a complete SendMessage request.
func sendRequest(t *testing.T, p *mnqtest.Process, url string) []byte {
	t.Helper()
	body := fmt.Sprintf(`{"QueueUrl":%q,"MessageBody":%q}`, url, strings.Repeat("x", 200))
	sum := sha256.Sum256([]byte(body))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	creds := aws.Credentials{AccessKeyID: devKeys.Access, SecretAccessKey: devKeys.Secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), "sqs", "fr-par", time.Now()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := req.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestOverload asks for much more than a server can do.
func TestOverload(t *testing.T) {
	t.Parallel()
	r := begin(t, "overload")
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--log-level", "error", "--max-in-flight", strconv.Itoa(many(200, 1024))}})
	c := client(http.DefaultTransport, p.URL, devKeys, 1)
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	if err != nil {
		t.Fatal(err)
	}
	in, err := json.Marshal(flood{
		Address: strings.TrimPrefix(p.URL, "http://"), Connections: many(1000, 10_000), Seconds: many(5, 60), Request: sendRequest(t, p, *q.QueueUrl),
	})
	if err != nil {
		t.Fatal(err)
	}
	before := resident(t, p)
	var most atomic.Int64
	watch, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for watch.Err() == nil {
			most.Store(max(most.Load(), resident(t, p)))
			wait(watch, 100*time.Millisecond)
		}
	})
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), floodVariable+"="+string(in))
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	stop()
	watching.Wait()
	var f flood
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil || !f.Finished {
		t.Fatalf("flood: %v %.300s", err, text)
	}
	over := time.Now()
	mnqtest.Within(t, time.Minute, func() error {
		_, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String("x")})
		return err
	})
	r.gap = time.Since(over)
	r.faults = 1
	for code, n := range f.Answers {
		r.operations += n
		switch {
		case code == "200":
			r.say("served %d", n)
		case strings.Contains(code, "RequestThrottled"):
			r.say("throttled %d", n)
		default:
			t.Errorf("%d answers were %s", n, code)
		}
	}
	r.say("connections %d, broken %d, memory %d MiB before, %d at most", many(1000, 10_000), f.Broken, before>>20, most.Load()>>20)
	if limit := int64(1 << 30); most.Load() > limit {
		t.Errorf("%d MiB of memory were used", most.Load()>>20)
	}
	if f.Answers["200"] == 0 || len(f.Answers) < 2 {
		t.Errorf("answers: %v: this was no overload", f.Answers)
	}
	// What was confirmed is there.
	a, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []types.QueueAttributeName{"ApproximateNumberOfMessages"}})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := strconv.Atoi(a.Attributes["ApproximateNumberOfMessages"]); n < f.Answers["200"] {
		r.lost = f.Answers["200"] - n
		t.Errorf("%d messages were accepted and %d are there", f.Answers["200"], n)
	}
}

// resident is how much memory a process uses, in bytes.
func resident(t *testing.T, p *mnqtest.Process) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid()))
	if err != nil {
		t.Error(err)
		return 0
	}
	fields := strings.Fields(string(b))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Error(err)
	}
	return pages * int64(os.Getpagesize())
}
