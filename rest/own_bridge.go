package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/topic"
)

// bridgeOnWire brings what is published on a NATS subject to a queue or topic.
type bridgeOnWire struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	ProjectID string       `json:"project_id"`
	Source    bridgeSource `json:"source"`
	TargetARN string       `json:"target_arn" doc:"empty when the target's namespace is gone"`
	Stream    string       `json:"stream" doc:"the JetStream stream that keeps messages until the target has them"`
	OwnStream bool         `json:"own_stream" doc:"true: made for the bridge, deleted with it"`
	CreatedAt *time.Time   `json:"created_at"`
	Waiting   *int64       `json:"waiting,omitempty" doc:"messages that the target does not have yet; only when a single bridge is asked for"`
	Fault     string       `json:"fault,omitempty" doc:"why nothing moves; only when a single bridge is asked for"`
}

type bridgeSource struct {
	NamespaceID string `json:"namespace_id" maxLength:"64" doc:"a NATS namespace"`
	Subject     string `json:"subject" maxLength:"255" doc:"wildcards are allowed, but not as the first token"`
}

type bridgeList struct {
	Bridges    []bridgeOnWire `json:"bridges" nullable:"false"`
	TotalCount int            `json:"total_count"`
}

func (a *API) registerBridges() {
	handle(a, operation{
		id: "openmnq.ListBridges", method: http.MethodGet, path: "/bridges",
		summary: "List bridges from NATS subjects to queues and topics", noun: "bridge",
	}, a.listBridges)
	handle(a, operation{
		id: "openmnq.CreateBridge", method: http.MethodPost, path: "/bridges",
		summary: "Feed a queue or topic from a NATS subject, at least once", noun: "bridge", action: "create",
	}, a.createBridge)
	handle(a, operation{
		id: "openmnq.GetBridge", method: http.MethodGet, path: "/bridges/{bridge_id}",
		summary: "Get a bridge and how far it has come", noun: "bridge",
	}, a.getBridge)
	remove(a, operation{
		id: "openmnq.DeleteBridge", method: http.MethodDelete, path: "/bridges/{bridge_id}",
		summary: "Delete a bridge, and the stream that was made for it", noun: "bridge", action: "delete",
	}, a.deleteBridge)
}

func (a *API) bridgeWire(b topic.Bridge) bridgeOnWire {
	out := bridgeOnWire{
		ID: b.ID, Name: b.Name, ProjectID: b.ProjectID, Source: bridgeSource{b.Source, b.Subject},
		Stream: b.Stream, OwnStream: b.Own, CreatedAt: stamp(b.CreatedAt),
	}
	if ns, err := a.dir.Namespace(b.Target.Namespace); err == nil {
		out.TargetARN = a.topics.TargetARN(ns, b.Target)
	}
	return out
}

func (a *API) listBridges(_ context.Context, who mnq.Identity, in *pageInput) (bridgeList, error) {
	all := a.topics.Bridges(who.Sees)
	return bridgeList{Bridges: convert(cut(all, in.PageQuery), a.bridgeWire), TotalCount: len(all)}, nil
}

type createBridgeInput struct{ Body createBridgeRequest }

type createBridgeRequest struct {
	Name      string       `json:"name" minLength:"1" maxLength:"64"`
	Source    bridgeSource `json:"source"`
	TargetARN string       `json:"target_arn" maxLength:"512" doc:"of a queue or a topic of the same project"`
}

func (a *API) createBridge(ctx context.Context, who mnq.Identity, in *createBridgeInput) (bridgeOnWire, error) {
	source, err := a.anyNamespace(who, in.Body.Source.NamespaceID)
	if err != nil {
		return bridgeOnWire{}, err
	}
	// arn:<partition>:<service>:<region>:<account>:<name>
	arn := strings.Split(in.Body.TargetARN, ":")
	if len(arn) != 6 || arn[0] != "arn" || arn[2] != string(mnq.ServiceSQS) && arn[2] != string(mnq.ServiceSNS) {
		return bridgeOnWire{}, invalid("target_arn", "format", "must be the ARN of a queue or a topic")
	}
	target, err := a.anyNamespace(who, arn[4])
	if err != nil {
		return bridgeOnWire{}, notFound("target", in.Body.TargetARN)
	}
	b, err := a.topics.CreateBridge(ctx, topic.NewBridge{
		Name: in.Body.Name, Source: source, Subject: in.Body.Source.Subject,
		Target: target, Service: mnq.Service(arn[2]), Of: arn[5],
	})
	if err != nil {
		return bridgeOnWire{}, as(err, "target", in.Body.TargetARN)
	}
	return a.bridgeWire(b), nil
}

type bridgeInput struct {
	BridgeID string `path:"bridge_id" format:"uuid"`
}

func (a *API) visibleBridge(who mnq.Identity, id string) (topic.Bridge, error) {
	b, err := a.topics.Bridge(canonical(id))
	if err != nil || !who.Sees(b.ProjectID) {
		return topic.Bridge{}, notFound("bridge", id)
	}
	return b, nil
}

func (a *API) getBridge(ctx context.Context, who mnq.Identity, in *bridgeInput) (bridgeOnWire, error) {
	b, err := a.visibleBridge(who, in.BridgeID)
	if err != nil {
		return bridgeOnWire{}, err
	}
	state, err := a.topics.BridgeState(ctx, b.ID)
	if err != nil {
		return bridgeOnWire{}, as(err, "bridge", in.BridgeID)
	}
	out := a.bridgeWire(b)
	out.Waiting, out.Fault = &state.Waiting, state.Fault
	return out, nil
}

func (a *API) deleteBridge(ctx context.Context, who mnq.Identity, in *bridgeInput) error {
	b, err := a.visibleBridge(who, in.BridgeID)
	if err != nil {
		return err
	}
	return as(a.topics.DeleteBridge(ctx, b.ID), "bridge", b.ID)
}
