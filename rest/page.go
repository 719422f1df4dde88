package rest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
)

// PageQuery selects a part of a list. total_count always counts all matches, and
// a page beyond the end is empty.
type PageQuery struct {
	Page     int64 `query:"page" default:"1" minimum:"1" maximum:"2147483647" doc:"page number, from 1"` // wide, since huma cuts off what does not fit
	PageSize int64 `query:"page_size" default:"50" minimum:"1" maximum:"100" doc:"items on a page"`
}

// cut returns the page of all that q asks for; never nil.
func cut[T any](all []T, q PageQuery) []T {
	from := min((q.Page-1)*q.PageSize, int64(len(all)))
	to := min(from+q.PageSize, int64(len(all)))
	return append([]T{}, all[from:to]...)
}

// order compares two items by one property.
type order[T any] map[string]func(x, y T) int

// sortBy sorts list by a value of order_by, such as "created_at_desc". Equal
// items stand in the order of their ids, so that pages never overlap.
func sortBy[T any](list []T, by string, known order[T]) {
	key, descending := strings.CutSuffix(by, "_desc")
	key = strings.TrimSuffix(key, "_asc")
	compare, sign := known[key], 1
	if compare == nil {
		compare = known["id"]
	}
	if descending {
		sign = -1
	}
	slices.SortStableFunc(list, func(x, y T) int {
		return cmp.Or(sign*compare(x, y), known["id"](x, y))
	})
}

var namespaceOrder = order[mnq.Namespace]{
	"id":         func(x, y mnq.Namespace) int { return cmp.Compare(x.ID, y.ID) },
	"name":       func(x, y mnq.Namespace) int { return cmp.Compare(x.Name, y.Name) },
	"project_id": func(x, y mnq.Namespace) int { return cmp.Compare(x.ProjectID, y.ProjectID) },
	"created_at": func(x, y mnq.Namespace) int { return x.CreatedAt.Compare(y.CreatedAt) },
	"updated_at": func(x, y mnq.Namespace) int { return x.UpdatedAt.Compare(y.UpdatedAt) },
}

var credentialOrder = order[mnq.Credential]{
	"id":         func(x, y mnq.Credential) int { return cmp.Compare(x.ID, y.ID) },
	"name":       func(x, y mnq.Credential) int { return cmp.Compare(x.Name, y.Name) },
	"created_at": func(x, y mnq.Credential) int { return x.CreatedAt.Compare(y.CreatedAt) },
	"updated_at": func(x, y mnq.Credential) int { return x.UpdatedAt.Compare(y.UpdatedAt) },
}

// filter returns the items of list that keep wants.
func filter[T any](list []T, keep func(T) bool) []T {
	var out []T
	for _, v := range list {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}

// convert returns f of every item; never nil.
func convert[T, U any](list []T, f func(T) U) []U {
	out := make([]U, 0, len(list))
	for _, v := range list {
		out = append(out, f(v))
	}
	return out
}

// stamp renders a time as the API does: UTC, whole microseconds in every answer,
// null for none.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Truncate(time.Microsecond))
}

// canonical returns the usual spelling of a UUID; anything else unchanged.
func canonical(id string) string {
	if u, err := uuid.Parse(id); err == nil {
		return u.String()
	}
	return id
}
