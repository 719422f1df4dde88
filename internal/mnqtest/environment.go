package mnqtest

import (
	"os"
	"strings"
)

// Environment is the test's own environment less what configures AWS clients,
// Python or mnq, with home as the home directory and the given NAME=value added.
func Environment(home string, add ...string) []string {
	env := []string{"HOME=" + home, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER="}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		prefix, _, _ := strings.Cut(name, "_")
		switch {
		case name == "HOME", prefix == "AWS", prefix == "SCW", prefix == "NATS", prefix == "MNQ", strings.HasPrefix(name, "PYTHON"):
		default:
			env = append(env, kv)
		}
	}
	return append(env, add...)
}

// DevEnvironment is Environment with what an AWS client needs to use the
// process, which runs in development mode; MNQ_URL is its address.
func (p *Process) DevEnvironment(home string) []string {
	return Environment(home, "MNQ_URL="+p.URL, "AWS_ENDPOINT_URL="+p.URL, "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
}
