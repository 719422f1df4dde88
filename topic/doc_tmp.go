// Package topic (placeholder until core lands).
package topic
