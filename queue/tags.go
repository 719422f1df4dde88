package queue

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"
)

const (
	maxTags     = 50
	maxTagKey   = 128 // characters
	maxTagValue = 256 // characters
)

// Tags returns the queue's tags; the caller must not change them.
func (q *Queue) Tags() map[string]string { return q.record.Load().Tags }

// Tag adds tags, and overwrites those of the same key. More than 50 in all, or a
// key or value that is not allowed: Invalid, code InvalidParameterValue.
func (q *Queue) Tag(ctx context.Context, tags map[string]string) error {
	if err := q.finishCreate(ctx); err != nil {
		return err
	}
	return q.change(ctx, "queue.Tag", func(r *record) error {
		if r.Tags == nil {
			r.Tags = make(map[string]string, len(tags))
		}
		maps.Copy(r.Tags, tags)
		if err := checkTags(q.name, tags); err != nil {
			return err
		}
		return checkTags(q.name, r.Tags)
	})
}

// Untag removes tags by key. A key that is not there is no error.
func (q *Queue) Untag(ctx context.Context, keys []string) error {
	if err := q.finishCreate(ctx); err != nil {
		return err
	}
	for _, key := range keys {
		if err := checkTagKey(key); err != nil {
			return err
		}
	}
	return q.change(ctx, "queue.Untag", func(r *record) error {
		for _, key := range keys {
			delete(r.Tags, key)
		}
		return nil
	})
}

// checkTags holds the tags of the queue name to SQS's rules.
func checkTags(name string, tags map[string]string) error {
	if len(tags) > maxTags {
		return invalid("InvalidParameterValue", "Tags", "Too many tags added for queue "+name+".")
	}
	for key, value := range tags {
		if err := checkTagKey(key); err != nil {
			return err
		}
		if strings.HasPrefix(strings.ToLower(key), "aws:") {
			return invalid("InvalidParameterValue", "Tags", "Tag keys must not begin with aws:, which is reserved.")
		}
		if utf8.RuneCountInString(value) > maxTagValue {
			return invalid("InvalidParameterValue", "Tags", "Tag values must be between 0 and 256 characters in length.")
		}
		if !utf8.ValidString(key) || !utf8.ValidString(value) || strings.ContainsFunc(key+value, func(r rune) bool { return r < ' ' || r == 0x7F }) {
			return invalid("InvalidParameterValue", "Tags", "Tag keys and values must not contain control characters.")
		}
	}
	return nil
}

func checkTagKey(key string) error {
	if n := utf8.RuneCountInString(key); n < 1 || n > maxTagKey {
		return invalid("InvalidParameterValue", "TagKeys", "Tag keys must be between 1 and 128 characters in length.")
	}
	return nil
}
