package topic

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/openmnq/mnq"
)

const (
	maxTags     = 50
	maxTagKey   = 128 // characters
	maxTagValue = 256 // characters
)

// Tags returns the topic's tags; the caller must not change them.
func (t *Topic) Tags() map[string]string { return t.state.Load().Tags }

// SetTags adds tags, and overwrites those of the same key. More than 50 in all:
// QuotaExceeded, code TagLimitExceeded. A key or value that is not allowed: Invalid,
// code InvalidParameter.
func (t *Topic) SetTags(ctx context.Context, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return t.change(ctx, "topic.SetTags", func(r *record) error {
		if r.Tags == nil {
			r.Tags = make(map[string]string, len(tags))
		}
		maps.Copy(r.Tags, tags)
		if len(r.Tags) > maxTags {
			return tooManyTags()
		}
		return nil
	})
}

// RemoveTags removes tags; those that are not there do not matter.
func (t *Topic) RemoveTags(ctx context.Context, keys []string) error {
	return t.change(ctx, "topic.RemoveTags", func(r *record) error {
		for _, key := range keys {
			delete(r.Tags, key)
		}
		return nil
	})
}

func tooManyTags() error {
	return &mnq.Error{
		Kind: mnq.QuotaExceeded, Code: "TagLimitExceeded", Op: "topic",
		Msg: "Could not complete request: tag quota of per resource exceeded",
	}
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return tooManyTags()
	}
	for key, value := range tags {
		switch n := utf8.RuneCountInString(key); {
		case n < 1 || n > maxTagKey:
			return invalid("Tags Reason: a tag key must have from 1 to 128 characters")
		case utf8.RuneCountInString(value) > maxTagValue:
			return invalid("Tags Reason: a tag value must have at most 256 characters")
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return invalid("Tags Reason: tag keys must not begin with aws:, which is reserved")
		case !utf8.ValidString(key) || !utf8.ValidString(value) || strings.ContainsFunc(key+value, isControl):
			return invalid("Tags Reason: tag keys and values must not contain control characters")
		}
	}
	return nil
}
