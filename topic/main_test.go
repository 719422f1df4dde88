package topic

import (
	"testing"

	"github.com/openmnq/mnq/internal/bubble"
)

func TestMain(m *testing.M) { bubble.Main(m) }
