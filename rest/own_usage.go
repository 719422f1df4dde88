package rest

import (
	"context"
	"math"
	"net/http"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

// usageOnWire is what a namespace uses, beside what it may.
type usageOnWire struct {
	tenant.Usage

	Queues int       `json:"queues"`
	Topics int       `json:"topics"`
	Quota  mnq.Quota `json:"quota"`
}

func (a *API) registerUsage() {
	handle(a, operation{
		id: "openmnq.GetUsage", method: http.MethodGet, path: "/namespaces/{namespace_id}/usage",
		summary: "Say what a namespace uses of its quota", noun: "namespace",
	}, a.getUsage)
}

func (a *API) getUsage(ctx context.Context, who mnq.Identity, in *quotaInput) (usageOnWire, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return usageOnWire{}, err
	}
	u, err := a.dir.Usage(ctx, ns.ID)
	if err != nil {
		return usageOnWire{}, as(err, "namespace", in.NamespaceID)
	}
	queues, _ := a.queues.List(ns, "", "", math.MaxInt)
	topics, _ := a.topics.List(ns, "", math.MaxInt)
	return usageOnWire{Usage: u, Queues: len(queues), Topics: len(topics), Quota: ns.Quota}, nil
}
