package server

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/topic"
)

func (s *Server) startTopics(ctx context.Context) error {
	allow, err := networks(s.cfg.EgressAllow)
	if err != nil {
		return err
	}
	s.topics, err = topic.New(topic.Config{
		Connect: s.directory.Connect, Control: s.node.Control(), Queues: s.queues, Namespace: s.directory.Namespace,
		Key: s.directory.DeriveKey("topics"), Replicas: s.node.Replicas(), Partition: s.cfg.ARNPartition,
		PublicURL: func() string { return strings.TrimRight(s.publicHTTP(), "/") }, Accepts: s.node.Accepts, Exists: s.exists,
		Egress:      topic.EgressConfig{Allow: allow, Loopback: s.cfg.Dev, Own: s.ownAddresses},
		Undelivered: s.cfg.Dev, Log: s.log, Tracer: s.cfg.Tracer,
		Took: func(protocol string, took time.Duration) {
			s.delivered.WithLabelValues(protocol).Observe(took.Seconds())
		},
	})
	if err != nil {
		return err
	}
	if err := s.topics.Start(ctx); err != nil {
		return err
	}
	s.directory.OnNamespaceGone(s.topics.NamespaceGone)
	s.directory.OnServiceGone(func(ctx context.Context, namespaceID string, gone mnq.Service) error {
		if gone != mnq.ServiceSNS {
			return nil
		}
		return s.topics.DeleteAll(ctx, namespaceID)
	})
	return nil
}

// networks reads a list of networks, separated by commas.
func networks(list string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for one := range strings.SplitSeq(list, ",") {
		if list == "" {
			break
		}
		p, err := netip.ParsePrefix(strings.TrimSpace(one))
		if err != nil || p != p.Masked() {
			return nil, fmt.Errorf("must be networks such as 10.1.0.0/16, separated by commas, not %q", one)
		}
		all = append(all, p)
	}
	return all, nil
}

// ownAddresses are the listeners of this process: no subscription may lead to them.
func (s *Server) ownAddresses() []netip.AddrPort {
	addresses := []string{s.http.Address(), s.node.Address(), s.node.WebSocketAddress()}
	if s.admin != nil {
		addresses = append(addresses, s.admin.Address())
	}
	var all []netip.AddrPort
	for _, a := range addresses {
		if p, err := netip.ParseAddrPort(a); err == nil { // else there is no such listener
			all = append(all, p)
		}
	}
	return all
}
