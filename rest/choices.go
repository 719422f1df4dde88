package rest

// Choice records how the control plane behaves where the published contract of
// the original says nothing.
type Choice struct {
	Topic  string
	Choice string
	Why    string
}

// Choices lists the decisions behind the control plane; docs/compatibility.md is
// generated from it.
func Choices() []Choice {
	return []Choice{
		{"order of checks", "token, region, form of the request, permission of the key, existence", "an answer never tells more than the caller may know"},
		{"missing or malformed token", "401, reason invalid_argument, method api_key", "recordings only show this reason and not_found"},
		{"unknown or deleted token", "401, reason not_found", "as recorded"},
		{"unknown region", "400 invalid_arguments, argument region, reason constraint", "an installation has one region, and a wrong one is a client setting to correct"},
		{"page_size", "default 50, maximum 100; outside 1 to 100, or page below 1: 400, reason constraint", "the defaults of the provider's older APIs; silent clamping would break page arithmetic"},
		{"page beyond the end", "200 with an empty list and the full total_count", "clients stop on an empty page"},
		{"unknown order_by", "400, reason constraint", "a misspelt order would otherwise go unnoticed"},
		{"ties in order_by", "items with equal keys are ordered by id", "pages never overlap or skip"},
		{"times", "RFC 3339, UTC, truncated to microseconds in every answer", "the original shows nanoseconds once, in the answer to create, and microseconds later; equal values compare equal"},
		{"name length", "v1alpha1 namespace 1 to 64 characters, as the later NATS account; credentials 1 to 500", "v1alpha1 publishes no rule"},
		{"names", "need not be unique; an empty string counts as missing (reason required)", "nothing published asks for uniqueness, and Terraform re-creates resources under the same name"},
		{"malformed namespace id", "400, \"value length must be 56 runes\", also in v1alpha1 and in list filters", "recorded for nats_account_id; the same rule for the same kind of id"},
		{"malformed UUID", "400, reason format", "clients tell a typing error from a deleted resource"},
		{"null for a required field", "as if it were missing: 400, reason required", "protobuf JSON reads null as unset"},
		{"unknown fields and query parameters", "ignored in v1alpha1 and v1beta1, unknown body fields refused in /openmnq/v1", "newer clients keep working; operators see spelling mistakes"},
		{"Content-Type of a request", "the body is read as JSON whatever the header says; no body counts as {}", "curl -d sends a form type; the token travels in a header, so a browser form cannot forge a call"},
		{"body size", "64 KiB; beyond it 413 with invalid_arguments, argument body", "the largest legitimate request is far smaller"},
		{"foreign or unknown project in a create, activate, deactivate or info call", "403 permissions_denied, the same for both", "a key bound to a project cannot find out which other projects exist; 403 read namespace is recorded for sqs-info"},
		{"foreign or unknown project, organization or namespace as a list filter", "200 with an empty list", "as if it had no resources"},
		{"resource of another project", "404, the same body as for an id that never existed", "isolation"},
		{"namespaces of SQS and SNS activations", "invisible to v1alpha1; their credentials too (404)", "v1alpha1 clients did not create them and could not describe them"},
		{"v1alpha1 NATS namespaces and v1beta1 NATS accounts", "the same objects, visible in both versions", "the provider migrated them one to one"},
		{"v1alpha1 SQS/SNS credential without permissions, or with a null in it", "400, reason required", "the documentation asks for all three"},
		{"v1alpha1 NATS credential with permissions", "400, reason constraint; null is accepted", "the documentation says to leave them out, and the SDK sends null"},
		{"name in the JWT of a NATS credential", "the first 64 characters of the credential's name at its creation", "the original puts the name there; a JWT has to fit into one line of the protocol"},
		{"v1beta1 credentials without permissions", "created with all three denied; a missing or null child counts as denied", "all three false is recorded as accepted; least privilege"},
		{"v1beta1 secret_key after creation", "the empty string", "the SDK type is a plain string"},
		{"PATCH that changes nothing", "200, updated_at stays", "nothing was updated"},
		{"creating v1beta1 credentials while the service is off", "404, resource MnqSQSNamespace or MnqSNSNamespace", "the same answer as deactivating what is off"},
		{"info of a service that was never activated", "200, status disabled, null times", "as recorded after a deactivation"},
		{"credentials of a deleted namespace or deactivated service", "404 at once", "no eventual consistency: creations and deletions are visible when the call returns"},
		{"deleting a namespace or NATS account", "closes its connections", "deleting credentials does, so deleting what they open must"},
		{"read-only API key on a write", "403 permissions_denied with the action (create, write, delete) and the resource", "the form of the error is recorded; the words follow it"},
		{"/iam/v1alpha1/api-keys/{access_key}", "answers for the caller's own key only, with default_project_id", "scw asks for it when no project is configured"},
		{"wrong method", "405 with Allow, type method_not_allowed", "not published"},
		{"response headers", "Server is not sent; Strict-Transport-Security only over TLS; Cache-Control: no-store is added", "answers may hold secrets"},
	}
}
