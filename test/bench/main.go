// Command bench measures how soon mnq is ready on an empty data directory and
// how much memory it holds when idle, and what a deep queue, many long polls, many
// queues and many message groups cost. It prints medians and the command used.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	idle     = 5 * time.Second // how long a server rests before its memory is read
	patience = 30 * time.Second
)

func main() {
	bin := flag.String("bin", "bin/mnq", "binary to measure")
	starts := flag.Int("starts", 9, "number of cold starts; 0 for none")
	only := flag.String("scale", "backlog,polls,queues,groups,fanout,topics,look,namespaces,nats,wake", "what else to measure: of a deep queue, looking into it and listing many, many long polls, many queues, many FIFO groups, a topic with 1, 10 and 100 queues, many topics, many namespaces, NATS beside a stock server, the wake-up of a long poll")
	addr := flag.String("http", "127.0.0.1:19324", "where the measured server listens")
	flag.Parse()
	var err error
	if *starts > 0 {
		err = measure(*bin, *starts)
	}
	if err == nil && *only != "" {
		err = scale(*bin, *addr, strings.Split(*only, ","))
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(bin string, starts int) error {
	args := []string{"serve", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--data-dir"}
	var ready []time.Duration
	var memory []int64
	for i := range starts {
		dir, err := os.MkdirTemp("", "mnq-bench-")
		if err != nil {
			return err
		}
		last := i >= starts-3 // memory of three is enough, each takes a rest
		took, rss, err := once(bin, append(slices.Clone(args), filepath.Join(dir, "data")), last)
		err = errors.Join(err, os.RemoveAll(dir))
		if err != nil {
			return err
		}
		ready = append(ready, took)
		if last {
			memory = append(memory, rss)
		}
	}
	slices.Sort(ready)
	slices.Sort(memory)
	_, err := fmt.Printf("command               %s %s EMPTY-DIR\ncold start to /readyz %.0f ms median of %d (%.0f to %.0f)\nidle resident memory  %.1f MB median of %d (VmRSS %s after ready)\n",
		bin, strings.Join(args, " "), milliseconds(ready[len(ready)/2]), len(ready), milliseconds(ready[0]), milliseconds(ready[len(ready)-1]),
		float64(memory[len(memory)/2])/1e6, len(memory), idle)
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// once starts the server, waits until /readyz is 200 and, when rest is true,
// reads its resident memory after a while.
func once(bin string, args []string, rest bool) (took time.Duration, rss int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), "MNQ_LOG_LEVEL=error")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	}()
	scan := bufio.NewScanner(out)
	url := ""
	for url == "" && scan.Scan() {
		if name, rest, _ := strings.Cut(scan.Text(), " "); name == "http" {
			url = strings.TrimSpace(rest)
		}
	}
	if url == "" {
		return 0, 0, errors.New("the server printed no address")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for {
		ok, err := isReady(ctx, url)
		if err != nil {
			return 0, 0, err
		}
		if ok {
			break
		}
	}
	took = time.Since(begun)
	if !rest {
		return took, 0, nil
	}
	time.Sleep(idle)
	rss, err = residentBytes(cmd.Process.Pid)
	return took, rss, err
}

func isReady(ctx context.Context, url string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", http.NoBody)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}

func residentBytes(pid int) (int64, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(raw), "VmRSS:")
	if !ok {
		return 0, errors.New("no VmRSS in /proc")
	}
	kb, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	return kb * 1024, err
}
