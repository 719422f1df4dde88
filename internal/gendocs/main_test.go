package main

import (
	"bytes"
	"os"
	"testing"
)

func TestCompatibilityPageIsUpToDate(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, compatibility()) {
		t.Error("docs/compatibility.md is not what the tables say: run make generate")
	}
}
