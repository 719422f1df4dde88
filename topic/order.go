package topic

import "github.com/openmnq/mnq"

// CheckOrder refuses a message that a FIFO topic could not put in order or
// recognise again: it needs a group, unless ns goes without, and a deduplication id or
// content to make one of. A message for a standard topic is always right. Errors:
// Invalid (InvalidParameter); they fail a batch as a whole.
func (t *Topic) CheckOrder(ns mnq.Namespace, p Publication) error {
	switch {
	case !t.FIFO():
		return nil
	case p.GroupID == "" && !ns.FIFOWithoutGroup:
		return invalid("The MessageGroupId parameter is required for FIFO topics")
	case p.DedupID == "" && t.state.Load().Settings[attrContent] != "true":
		return invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}
