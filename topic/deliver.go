package topic

import "context"

func (s *Service) askForConfirmation(context.Context, *Topic, *subscriptionRecord) {}
func (s *Service) tellUnsubscribed(context.Context, *Topic, *subscriptionRecord)   {}
