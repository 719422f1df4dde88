// Package topic keeps SNS topics on JetStream: one stream for each topic, from which
// every message goes to the subscriptions that match. DESIGN.md beside this file gives
// the reasons.
package topic
